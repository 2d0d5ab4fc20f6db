"""Checkpoints of the published SignalTrain program: files with its names, written here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from audiform.checkpoints import load_model, read_signaltrain
from audiform.checkpoints.import_signaltrain import LAYER_NAMES, TRANSFORM_NAMES
from audiform.checkpoints.model_package import read_any_header
from audiform.cli.main import app
from audiform.errors import CheckpointError, ConfigError
from audiform.inference.separator import Separator
from audiform.models.signaltrain import SignalTrain, SignalTrainConfig

RANGES = [[-30.0, 0.0], [1.0, 5.0]]


@pytest.fixture(scope="module")
def network() -> SignalTrain:
    torch.manual_seed(0)
    knobs = _config_knobs()
    network = SignalTrain(SignalTrainConfig.published(knobs=knobs)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return network


def _config_knobs():
    from audiform.knob import Knob

    names = ("threshold", "attack_Time")
    return [
        Knob(name=name, minimum=low, maximum=high, default=(low + high) / 2)
        for name, (low, high) in zip(names, RANGES, strict=True)
    ]


def published_state(network: SignalTrain) -> dict[str, torch.Tensor]:
    ours = network.state_dict()
    state = {theirs: ours[name] for theirs, name in LAYER_NAMES.items()}
    for name, parts in TRANSFORM_NAMES.items():
        for part, weight in zip(parts, ours[name], strict=True):
            state[part] = weight[:, None].clone()
    return state


def save(path, network, **changes):
    table = {
        "epoch": 7,
        "state_dict": published_state(network),
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": []},
        "effect_name": "comp_2c",
        "knob_names": ["threshold", "attack Time"],
        "knob_ranges": np.array(RANGES),
        "scale_factor": 1,
        "shrink_factor": 4,
        "in_chunk_size": 8192,
        "out_chunk_size": 2048,
        "sr": 48000,
    }
    torch.save(table | changes, path)
    return path


def test_weights_knobs_and_rate_arrive(network, tmp_path) -> None:
    path = save(tmp_path / "model.tar", network)
    again = load_model(path)
    assert again.config == network.config.model_copy(update={"sample_rate": 48000})
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    header = read_any_header(path)
    assert header.training == {"imported_from": "model.tar", "effect": "comp_2c", "epochs": 7}
    assert [knob["name"] for knob in header.knobs or ()] == ["threshold", "attack_Time"]


@pytest.mark.parametrize(
    "ranges",
    [
        RANGES,
        np.array(RANGES, dtype=np.float32),
        np.array(RANGES, dtype=np.int64),
        np.asfortranarray(RANGES),
    ],
)
def test_ranges_come_in_any_of_their_forms(network, ranges, tmp_path) -> None:
    checkpoint = read_signaltrain(save(tmp_path / "model.tar", network, knob_ranges=ranges))
    assert [[knob.minimum, knob.maximum] for knob in checkpoint.config.knobs] == RANGES


def test_what_an_older_file_does_not_say_has_the_published_default(network, tmp_path) -> None:
    path = tmp_path / "model.tar"
    torch.save({"state_dict": published_state(network)}, path)
    config = read_signaltrain(path).config
    assert config.sample_rate == 44100
    assert [knob.name for knob in config.knobs] == [
        "threshold", "ratio", "attackTime", "releaseTime",
    ]  # fmt: skip
    with pytest.raises(CheckpointError, match="mis-shaped"):  # its weights are for two knobs
        load_model(path)


def test_the_command_converts_it_and_a_separator_refuses_it(network, tmp_path) -> None:
    out = tmp_path / "ours.safetensors"
    path = save(tmp_path / "model.tar", network)
    result = CliRunner().invoke(app, ["models", "import", str(path), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert load_model(out).spec == load_model(path).spec
    with pytest.raises(ConfigError, match="is an effect and takes nothing apart"):
        Separator(out)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state_dict": 3}, "no table 'state_dict'"),
        ({"state_dict": {"mpaec.aenc.old_layer.weight": torch.zeros(1)}}, "unknown 1 .*old_layer"),
        ({"knob_ranges": np.zeros((2, 3))}, "no array of two columns"),
        ({"knob_ranges": np.zeros((2, 2), dtype=np.complex64)}, "array of 'c8'"),
        ({"knob_ranges": [[1.0, 0.0], [0.0, 1.0]]}, "ranges from 1.0 to 0.0"),
        ({"knob_names": ["only_one"]}, "cannot be imported"),
        ({"in_chunk_size": "8192; import os"}, "cannot be imported"),
        ({"in_chunk_size": 16384}, None),
    ],
)
def test_what_does_not_fit_is_refused_by_name(network, changes, words, tmp_path) -> None:
    path = save(tmp_path / "model.tar", network, **changes)
    with pytest.raises(CheckpointError, match=words or "mis-shaped") as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_it_runs_nothing(network, tmp_path) -> None:
    class Payload:
        def __reduce__(self):
            return (eval, ("open('canary', 'w')",))

    path = save(tmp_path / "model.tar", network, effect_name=Payload())
    with pytest.raises(CheckpointError, match="refused and nothing of it was run"):
        read_signaltrain(path)


def test_packages_of_demucs_still_need_their_suffix(tmp_path) -> None:
    path = tmp_path / "model.tar"
    torch.save({"klass": 1, "state": {}}, path)
    with pytest.raises(CheckpointError, match="no checkpoint of SignalTrain"):
        read_signaltrain(path)
