"""Demucs (time domain) against the published package: network, gradients, engine, files, bags."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from audiform.audio import Audio
from audiform.checkpoints import load_model, read_demucs
from audiform.checkpoints.export_demucs import export_hub, export_th
from audiform.inference.separator import Separator

pytest.importorskip("demucs", reason="the published package is the oracle")
from demucs.demucs import Demucs as Published
from demucs.hdemucs import HDemucs as PublishedHybrid

from tests.parity.oracle import (
    SOURCES,
    assert_equal,
    assert_equal_engine,
    assert_equal_forward,
    assert_equal_gradients,
    music,
    published,
    save_hub,
    save_th,
)

#: The networks of ``mdx`` and ``repro_mdx_a``: attention and LSTM in the innermost branches.
BRANCHES = {
    "channels": 8,
    "depth": 4,
    "norm_starts": 2,
    "dconv_attn": 2,
    "dconv_lstm": 2,
    "samplerate": 8000,
    "segment": Fraction(1, 2),
}
#: Demucs v2: ReLU, no branches, an LSTM in the middle.
SECOND = {
    "channels": 8,
    "depth": 4,
    "gelu": False,
    "dconv_mode": 0,
    "lstm_layers": 2,
    "norm_starts": 6,
    "samplerate": 8000,
    "segment": 0.5,
}
CONFIGURATIONS = {
    "mdx, small": BRANCHES,
    "mdx, trained as configured": {**BRANCHES, "normalize": False, "dconv_init": 1e-4},
    "v2, small": SECOND,
    "v1, not resampled": {**SECOND, "resample": False, "normalize": False},
    "no attention": {**BRANCHES, "dconv_attn": 10},
    "no LSTM": {**BRANCHES, "dconv_lstm": 10},
    "LSTM in the middle instead": {
        **BRANCHES, "dconv_attn": 10, "dconv_lstm": 10, "lstm_layers": 2,
    },
    "ReLU with branches": {**BRANCHES, "gelu": False},
    "branches on both sides": {**BRANCHES, "dconv_mode": 3, "dconv_comp": 2, "dconv_depth": 1},
    "branches in the decoder": {**BRANCHES, "dconv_mode": 2},
    "six sources, mono, other sizes": {
        **BRANCHES, "sources": [*SOURCES, "guitar", "piano"], "audio_channels": 1, "growth": 1.5,
        "kernel_size": 6, "stride": 2, "context": 2, "depth": 2, "norm_groups": 2,
        "norm_starts": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_forward(tmp_path, options) -> None:
    theirs = published(Published, options)
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    # the longest has more than 200 steps where the branches have an LSTM
    assert_equal_forward(theirs, ours, (4001, 9000, 333))
    assert_equal_forward(theirs, load_model(save_hub(theirs, tmp_path / "hub.safetensors")), (800,))
    for length in (1, 77, 4000, 22050):
        assert ours.input_samples(length) == theirs.valid_length(length)


@pytest.mark.parametrize("channels", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_released_shape(tmp_path, channels) -> None:
    """All hyper-parameters as published, in a fourth of the width or (slow: 134 M weights) all."""
    theirs = published(Published, {"channels": channels})
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    assert ours.spec.segment_samples == 40 * 44100
    assert_equal_forward(theirs, ours, (22050,))


@pytest.mark.slow
def test_released_shape_of_v2(tmp_path) -> None:
    """266 M weights; without noise, which saturates an LSTM of such a width."""
    options = {"dconv_mode": 0, "gelu": False, "lstm_layers": 2, "norm_starts": 6}
    theirs = published(Published, options, noise=0.0)
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    assert_equal_forward(theirs, ours, (22050,))


@pytest.mark.parametrize("options", [BRANCHES, SECOND], ids=["mdx", "v2"])
def test_gradients(tmp_path, options) -> None:
    theirs = published(Published, options)
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    assert_equal_gradients(theirs.train(), ours.train(), samples=8500)


@pytest.mark.parametrize(
    ("seconds", "options"),
    [(1.9, {}), (0.001, {}), (1.3, {"overlap": 0.5}), (1.2, {"segment": 0.25})],
)
def test_the_engine_equals_apply_model(tmp_path, seconds, options) -> None:
    theirs = published(Published, BRANCHES)
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    assert_equal_engine(theirs, ours, seconds=seconds, **options)


@pytest.mark.parametrize("options", [BRANCHES, SECOND], ids=["mdx", "v2"])
def test_export(tmp_path, options) -> None:
    from demucs.hf import load_safetensors_model
    from demucs.pretrained import get_model

    theirs = published(Published, options)
    checkpoint = read_demucs(save_th(theirs, tmp_path / "feedcafe.th"))
    again = load_safetensors_model(export_hub(checkpoint, tmp_path / "out", name="again")[1])
    signature = export_th(checkpoint, tmp_path / "out").stem.partition("-")[0]
    for network in (again, get_model(signature, repo=tmp_path / "out")):
        assert isinstance(network, Published)
        assert network.state_dict().keys() == theirs.state_dict().keys()
        mixture = music(theirs, 2000)
        with torch.no_grad():
            assert_equal(network.eval()(mixture.clone()), theirs(mixture.clone()))


def test_a_bag_with_weights_for_each_source(tmp_path) -> None:
    """The shape of ``mdx``: networks in time and hybrid ones, weighted source by source."""
    from demucs.apply import BagOfModels, apply_model

    hybrid = {
        "channels": 8,
        "nfft": 256,
        "depth": 4,
        "norm_starts": 2,
        "dconv_attn": 2,
        "dconv_lstm": 2,
        "samplerate": 8000,
    }
    networks = [
        published(Published, BRANCHES, seed=1),
        published(Published, BRANCHES, seed=2),
        published(PublishedHybrid, {**hybrid, "cac": False}, seed=3),
        published(PublishedHybrid, {**hybrid, "multi_freqs": [0.25]}, seed=4),
    ]
    weights = [[1.0, 1, 0, 0], [0, 1.0, 0, 0], [1.0, 0, 1, 1], [1.0, 0, 1, 1]]
    for number, network in enumerate(networks):
        save_th(network, tmp_path / f"{number}{number}{number}{number}.th")
    bag = tmp_path / "bag.yaml"
    bag.write_text(f"models: ['0000', '1111', '2222', '3333']\nweights: {weights}\nsegment: 0.75\n")

    mixture = music(networks[0], 17_000)[0]
    mono = mixture.mean(0)
    mean, deviation = mono.mean(), mono.std() + 1e-8
    theirs = BagOfModels(networks, weights, segment=0.75)
    normalised = (mixture - mean) / deviation
    with torch.no_grad():
        expected = apply_model(theirs, normalised[None], shifts=0)[0] * deviation + mean
    stems = Separator(bag, restore_offset=True).separate(Audio(mixture, 8000))
    found = torch.stack([stems[name].samples for name in SOURCES])
    assert_equal(found, expected)
