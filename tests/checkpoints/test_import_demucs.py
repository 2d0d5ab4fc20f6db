"""Demucs packages: equal to the published package's own reading of them."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from tests.checkpoints import published

from audiform.checkpoints import htdemucs_names, load_model, published_names, read_demucs
from audiform.checkpoints.file import build_model
from audiform.errors import CheckpointError
from audiform.models import MODELS

#: float32 sums in another order; measured 4e-7 to 6e-7 of the peak.
TOLERANCE = 1e-5

CONFIGURATIONS = {
    "released in miniature": {"segment": Fraction(39, 5), "samplerate": 8000, "t_layers": 2},
    "no bottom": {"bottom_channels": 0},
    "six sources": {"sources": published.SIX},
    "encoder branches only": {"dconv_mode": 1},
    "cross attention first": {"t_cross_first": True, "t_layers": 2},
    "group norms": {"norm_starts": 2},
    "no transformer": {"t_layers": 0, "bottom_channels": 0},
    "no norms around, no scale": {"t_norm_in": False, "t_norm_out": False, "t_layer_scale": False},
    "mono at another rate": {"audio_channels": 1, "samplerate": 22050, "segment": 0.55},
    "other constants": {
        "freq_emb": 0.5, "emb_scale": 3, "t_weight_pos_embed": 0.5, "t_max_period": 500.0,
        "t_hidden_scale": 2.0, "dconv_depth": 1, "dconv_comp": 4, "context_enc": 1, "context": 0,
    },
}  # fmt: skip


def assert_equal_output(ours, theirs):
    config = ours.config
    generator = torch.Generator().manual_seed(3)
    num_samples = min(int(config.sample_rate * config.segment_seconds), 30_000)
    mixture = torch.randn(1, config.audio_channels, num_samples, generator=generator)
    with torch.no_grad():
        expected, found = theirs(mixture), ours(mixture)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_equals_the_published_network(name, tmp_path):
    theirs = published.network(**CONFIGURATIONS[name])
    path = published.save_th(tmp_path / "m.th", published.package(theirs))
    assert_equal_output(load_model(path), theirs)


def test_both_torch_layouts_and_the_hub_layout_give_the_same_weights(tmp_path):
    theirs = published.network()
    content = published.package(theirs)
    readings = [
        read_demucs(published.save_th(tmp_path / "new.th", content)),
        read_demucs(published.save_th(tmp_path / "old.th", content, legacy=True)),
        read_demucs(published.save_hub(tmp_path / "hub.safetensors", theirs)),
    ]
    for reading in readings[1:]:
        assert reading.config == readings[0].config
        assert reading.state.keys() == readings[0].state.keys()
        assert all(
            torch.equal(reading.state[key], value) for key, value in readings[0].state.items()
        )
    assert_equal_output(build_model(readings[2]), theirs)
    assert readings[0].header.sources == tuple(published.FOUR)
    assert readings[0].header.training == {"imported_from": "new.th"}
    assert readings[0].config.segment_seconds == Fraction(1, 2)


def test_state_dicts_with_parameters_and_order_are_read_too(tmp_path):
    theirs = published.network()
    state = theirs.state_dict(keep_vars=True)  # an OrderedDict of parameters, with _metadata
    path = published.save_th(tmp_path / "m.th", published.package(theirs, state=state))
    assert_equal_output(load_model(path), theirs)


def test_every_published_option_is_in_exactly_one_table():
    import inspect

    from demucs.htdemucs import HTDemucs

    signature = inspect.signature(HTDemucs.__init__).parameters
    renamed = {name: default for name, _, default in htdemucs_names.RENAMED_OPTIONS}
    own = {"sources", "segment", "dconv_mode"}
    tables = [set(renamed), set(htdemucs_names.FIXED_OPTIONS), set(htdemucs_names.IGNORED_OPTIONS)]
    listed = [name for table in (*tables, own) for name in table]
    assert len(listed) == len(set(listed))
    assert set(listed) - {"num_subbands"} == set(signature) - {"self"}
    for name, default in (renamed | dict(htdemucs_names.FIXED_OPTIONS)).items():
        if name != "num_subbands":
            assert signature[name].default == default, name
    assert signature["segment"].default == htdemucs_names.DEFAULT_SEGMENT
    assert signature["dconv_mode"].default == htdemucs_names.DEFAULT_BRANCH_MODE


def test_options_survive_the_way_there_and_back():
    config = htdemucs_names.config_from_options(published.TINY)
    again = htdemucs_names.config_from_options(htdemucs_names.options_from_config(config))
    assert again == config


def test_parameter_names_survive_the_way_there_and_back():
    theirs = published.network()
    config = htdemucs_names.config_from_options(published.TINY)
    there = htdemucs_names.parameter_prefixes(config)
    back = {ours: name for name, ours in there.items()}
    assert len(back) == len(there)
    ours = {name: published_names.renamed(name, there) for name in theirs.state_dict()}
    assert set(ours.values()) == set(MODELS["htdemucs"].network(config).state_dict())
    assert all(published_names.renamed(value, back) == name for name, value in ours.items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kwargs": {"sources": ["a"], "cac": False}}, ["cac", "False"]),
        ({"kwargs": {"sources": ["a"], "t_sparse_self_attn": True}}, ["t_sparse_self_attn"]),
        ({"kwargs": {"sources": ["a"], "warp_drive": 9}}, ["warp_drive", "9"]),
        ({"kwargs": {"channels": 8}}, ["sources"]),
        ({"kwargs": {"sources": ["a"], "channels": "x"}}, ["hidden_channels"]),
        ({"kwargs": {"sources": 5}}, ["options"]),
        ({"kwargs": [1]}, ["keyword arguments"]),
        ({"args": (1, 2, 3, 4)}, ["positional"]),
        ({"state": {"__quantized": True}}, ["quantised", "meta"]),
        ({"state": {"encoder.0.conv.weight": 5}}, ["no tensors", "encoder.0.conv.weight"]),
        ({"state": {"nonsense.weight": torch.zeros(2)}}, ["nonsense.weight"]),
        ({"state": [1]}, ["no table"]),
        ({"klass": "demucs.htdemucs.HTDemucs2"}, ["HTDemucs2"]),
    ],
)
def test_what_does_not_fit_is_named(changes, words, tmp_path):
    content = published.package(published.network(t_layers=0, bottom_channels=0), **changes)
    path = published.save_th(tmp_path / "m.th", content)
    with pytest.raises(CheckpointError) as caught:
        read_demucs(path)
    assert caught.value.path == path
    assert all(word in str(caught.value) for word in words)


def test_missing_weights_are_listed(tmp_path):
    theirs = published.network(t_layers=0, bottom_channels=0)
    state = published.half_state(theirs)
    del state["encoder.0.conv.weight"]
    path = published.save_th(tmp_path / "m.th", published.package(theirs, state=state))
    with pytest.raises(CheckpointError, match=r"missing 1 \(spectrum_encoder.0.convolution.weig"):
        load_model(path)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"klass": "os.system"}, "os.system"),
        ({"structure": "{}"}, "structure"),
        ({"kwargs": "{"}, "arguments in its metadata"),
        ({"args": "[" * 100_000}, "arguments in its metadata"),
        (
            {"kwargs": '{"segment": {"_type": "fraction", "numerator": 1e999, "denominator": 1}}'},
            "arguments in its metadata",
        ),
        ({"kwargs": '{"segment": {"_type": "fraction"}}'}, "arguments in its metadata"),
        (
            {"kwargs": '{"segment": {"_type": "fraction", "numerator": 1, "denominator": 0}}'},
            "arguments in its metadata",
        ),
    ],
)
def test_hub_metadata_that_make_no_sense(metadata, words, tmp_path):
    path = published.save_hub(
        tmp_path / "m.safetensors", published.network(t_layers=0, bottom_channels=0), **metadata
    )
    with pytest.raises(CheckpointError, match=words):
        read_demucs(path)


def test_reading_never_imports_demucs(tmp_path):
    theirs = published.network(t_layers=1)
    paths = [
        published.save_th(tmp_path / "new.th", published.package(theirs)),
        published.save_th(tmp_path / "old.th", published.package(theirs), legacy=True),
        published.save_hub(tmp_path / "hub.safetensors", theirs),
    ]
    program = (
        "import sys; from pathlib import Path; from audiform.checkpoints import load_model\n"
        "for path in sys.argv[1:]: load_model(Path(path))\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('demucs', 'diffq', 'omegaconf')]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", program, *map(str, paths)], check=True)


def test_the_published_package_itself_is_untouched_by_path_types(tmp_path):
    path = published.save_th(
        tmp_path / "m.th", published.package(published.network(t_layers=0, bottom_channels=0))
    )
    assert load_model(str(path)).config == load_model(Path(path)).config
