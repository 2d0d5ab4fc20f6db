"""Effects as graphs: other runtimes give what our steps give, block after block."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.checkpoints.effect_files import make_effect, sound
from tests.contracts.test_effect_models import EFFECTS, TINY
from tests.models_for_tests import KNOBS, tiny_htdemucs

from audiform.checkpoints import Checkpoint, read_checkpoint
from audiform.checkpoints.effect_export import export_effect
from audiform.checkpoints.step_graph import METADATA_KEY
from audiform.errors import ConfigError
from audiform.knob import settings_to_network
from audiform.models.effect_rnn import EffectRNNConfig
from audiform.models.frame_restorer import PredictionConfig

SAME = 1e-5

#: Blocks, each with other knobs.
BLOCKS = 5


#: Effects whose step is a graph: what moves hits is none.
GRAPHS = [name for name in EFFECTS if name != "grid-aligner"]


def knobs_at(number: int) -> dict[str, float]:
    return {"threshold_db": -6.0 * number, "release_ms": 3.0 * 3.0**number}


def expected_blocks(network, size: int) -> list[np.ndarray]:
    state, blocks = network.initial_state(), []
    for number, block in enumerate(sound(BLOCKS * size).split(size, dim=-1)):
        positions = settings_to_network(KNOBS, knobs_at(number))[None]
        with torch.inference_mode():
            wet, state = network.step(block, positions, state)
        blocks.append(wet.numpy())
    return blocks


def run_blocks(run, about: dict) -> list[np.ndarray]:
    """Call ``run`` with what the file says of its inputs; take next states from its outputs."""
    size, blocks = about["block_samples"], []
    states = [
        np.broadcast_to(np.array(state["start"], state["dtype"]), state["shape"]).copy()
        for state in about["states"]
    ]
    for number, block in enumerate(sound(BLOCKS * size).split(size, dim=-1)):
        values = knobs_at(number)
        knobs = np.array([[values[knob["name"]] for knob in about["knobs"]]], np.float32)
        wet, *states = run(block.numpy(), knobs, *states)
        blocks.append(wet)
    return blocks


def block_for(network) -> int | None:
    """Return a length that no default has, or none where the network has its own."""
    return 96 if network.spec.block_samples == 1 else None


def check_description(about: dict, network) -> None:
    own = network.spec.block_samples
    assert about["block_samples"] == (block_for(network) or -(-128 // own) * own)
    assert about["latency_samples"] == network.spec.latency_samples
    assert [knob["name"] for knob in about["knobs"]] == [knob.name for knob in KNOBS]


def largest_difference(found: list[np.ndarray], network, about: dict) -> float:
    expected = expected_blocks(network, about["block_samples"])
    return float(np.abs(np.concatenate(found) - np.concatenate(expected)).max())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "signaltrain-attention" else name
        for name in GRAPHS
    ],
)
def test_onnx_gives_what_steps_give(name, tmp_path) -> None:
    network, checkpoint = make_effect(name, TINY[name], tmp_path)
    block = block_for(network)
    path = export_effect(checkpoint, tmp_path / "effect.onnx", to="onnx", block_samples=block)
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    about = json.loads(properties[METADATA_KEY])
    check_description(about, network)
    session = onnxruntime.InferenceSession(path)
    names = [item.name for item in session.get_inputs()]
    assert names == ["dry", "knobs", *(state["name"] for state in about["states"])]

    def run(*inputs):
        return session.run(None, dict(zip(names, inputs, strict=True)))

    assert largest_difference(run_blocks(run, about), network, about) < SAME


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("effect-rnn", "gain-tcn") else pytest.param(name, marks=pytest.mark.slow)
        for name in GRAPHS
    ],
)
def test_torch_programs_give_what_steps_give(name, tmp_path) -> None:
    network, checkpoint = make_effect(name, TINY[name], tmp_path)
    block = block_for(network)
    path = export_effect(checkpoint, tmp_path / "effect.pt2", to="torch", block_samples=block)
    extra = {METADATA_KEY: ""}
    program = torch.export.load(path, extra_files=extra).module()
    about = json.loads(extra[METADATA_KEY])
    check_description(about, network)

    def run(*inputs):
        return [out.detach().numpy() for out in program(*map(torch.from_numpy, inputs))]

    assert largest_difference(run_blocks(run, about), network, about) < SAME


def test_a_rest_state_is_in_the_file(tmp_path) -> None:
    config = EffectRNNConfig(knobs=KNOBS, hidden_channels=3)
    network, checkpoint = make_effect("effect-rnn", config, tmp_path)
    network.rest.fill_(0.5)
    state = dict(checkpoint.state) | {"rest": network.rest}
    checkpoint = Checkpoint("effect-rnn", config, state, checkpoint.header)
    path = export_effect(checkpoint, tmp_path / "effect.pt2", to="torch")
    extra = {METADATA_KEY: ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra[METADATA_KEY])["states"][1]["start"] == [[[0.5, 0.5, 0.5]]]


def test_an_effect_without_knobs_has_none_in_its_graph(tmp_path) -> None:
    config = TINY["effect-tcn"].model_copy(update={"knobs": ()})
    network, checkpoint = make_effect("effect-tcn", config, tmp_path)
    path = export_effect(checkpoint, tmp_path / "effect.onnx", to="onnx", block_samples=64)
    session = onnxruntime.InferenceSession(path)
    names = [item.name for item in session.get_inputs()]
    assert "knobs" not in names
    state = network.initial_state()
    dry = sound(64)
    inputs = dict(zip(names, [dry.numpy(), *(part.numpy() for part in state)], strict=True))
    with torch.inference_mode():
        expected, _ = network.step(dry, torch.zeros(1, 0), state)
    assert np.abs(session.run(None, inputs)[0] - expected.numpy()).max() < SAME


def test_blocks_that_do_not_fit_are_refused(tmp_path) -> None:
    _, checkpoint = make_effect("signaltrain", TINY["signaltrain"], tmp_path)
    with pytest.raises(ConfigError, match="multiples of 64; choose 128"):
        export_effect(checkpoint, tmp_path / "effect.onnx", to="onnx", block_samples=100)


@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_what_moves_hits_is_no_graph(to, tmp_path) -> None:
    _, checkpoint = make_effect("grid-aligner", TINY["grid-aligner"], tmp_path)
    with pytest.raises(ConfigError, match="'grid-aligner' cuts and moves"):
        export_effect(checkpoint, tmp_path / "effect.graph", to=to)
    assert not (tmp_path / "effect.graph").exists()


def test_a_room_that_is_predicted_is_a_graph_for_torch_alone(tmp_path) -> None:
    late = PredictionConfig(n_fft=64, hop_length=16, taps=3, num_bins=20)
    config = TINY["frame-restorer"].model_copy(update={"late": late})
    network, checkpoint = make_effect("frame-restorer", config, tmp_path)
    path = export_effect(checkpoint, tmp_path / "effect.pt2", to="torch")
    extra = {METADATA_KEY: ""}
    program = torch.export.load(path, extra_files=extra).module()

    def run(*inputs):
        return [out.detach().numpy() for out in program(*map(torch.from_numpy, inputs))]

    about = json.loads(extra[METADATA_KEY])
    assert largest_difference(run_blocks(run, about), network, about) < SAME
    with pytest.raises(ConfigError, match="--to torch"):
        export_effect(checkpoint, tmp_path / "effect.onnx", to="onnx")
    assert not (tmp_path / "effect.onnx").exists()


def test_a_separator_has_no_step(tmp_path) -> None:
    from tests.models_for_tests import SOURCES, TINY_HTDEMUCS

    from audiform.checkpoints import write_checkpoint

    network = tiny_htdemucs()
    path = write_checkpoint(
        tmp_path / "stems.safetensors",
        architecture="htdemucs",
        config=TINY_HTDEMUCS,
        state=network.state_dict(),
        sources=SOURCES,
        sample_rate=44100,
    )
    with pytest.raises(ConfigError, match="is a separator"):
        export_effect(read_checkpoint(path), tmp_path / "effect.onnx", to="onnx")


def test_without_its_packages_onnx_says_how_to_get_them(tmp_path, monkeypatch) -> None:
    _, checkpoint = make_effect("effect-tcn", TINY["effect-tcn"], tmp_path)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"audiform\[export\]"):
        export_effect(checkpoint, tmp_path / "effect.onnx", to="onnx")
