"""Hybrid Demucs against the published package: the network, its gradients, the engine, files."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from audiform.checkpoints import load_model, read_demucs
from audiform.checkpoints.export_demucs import export_hub, export_th
from audiform.errors import CheckpointError

pytest.importorskip("demucs", reason="the published package is the oracle")
from demucs.hdemucs import HDemucs as Published

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

#: Three levels over frequency, two shared ones, attention and LSTM in the innermost branches.
TINY = {
    "channels": 8,
    "nfft": 256,
    "depth": 5,
    "norm_starts": 2,
    "dconv_attn": 2,
    "dconv_lstm": 2,
    "samplerate": 8000,
    "segment": Fraction(1, 2),
}
CONFIGURATIONS = {
    "hdemucs_mmi, small": TINY,
    "magnitudes (mdx, mdx_extra)": {**TINY, "cac": False},
    "magnitudes, damped phase": {**TINY, "cac": False, "wiener_iters": -1, "end_iters": -1},
    "padding of the first ones": {**TINY, "hybrid_old": True},
    "that and magnitudes": {**TINY, "hybrid_old": True, "cac": False},
    "bands of frequencies (mdx)": {**TINY, "multi_freqs": [0.25, 0.5], "multi_freqs_depth": 2},
    "bands at odd places": {**TINY, "multi_freqs": [0.13, 0.37, 0.81], "multi_freqs_depth": 1},
    "bands, wider contexts": {**TINY, "multi_freqs": [0.4], "context_enc": 1, "context": 2},
    "branches on both sides": {**TINY, "dconv_mode": 3, "dconv_depth": 1, "dconv_comp": 2},
    "no attention, no LSTM": {**TINY, "dconv_attn": 9, "dconv_lstm": 9},
    "one shared level, no embedding": {**TINY, "depth": 4, "freq_emb": 0.0},
    "no shared level": {**TINY, "depth": 3, "time_stride": 4},
    "six sources, mono, other sizes": {
        **TINY, "sources": [*SOURCES, "guitar", "piano"], "audio_channels": 1, "growth": 3,
        "nfft": 64, "depth": 3, "dconv_comp": 6, "time_stride": 4, "norm_groups": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_forward(tmp_path, options) -> None:
    theirs = published(Published, options)
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    # the longest has more than 200 steps where the branches have an LSTM
    assert_equal_forward(theirs, ours, (4001, 14_000, 333))
    assert_equal_forward(theirs, load_model(save_hub(theirs, tmp_path / "hub.safetensors")), (800,))


def test_silence_between(tmp_path) -> None:
    """Where the mixture is zero, both have the same idea of its phase."""
    for iterations in (0, -1):
        options = {**TINY, "cac": False, "wiener_iters": iterations, "end_iters": iterations}
        theirs = published(Published, options)
        ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
        mixture = music(theirs, 4000)
        mixture[..., 1000:3000] = 0
        with torch.no_grad():
            assert_equal(ours(mixture), theirs(mixture.clone()))


@pytest.mark.parametrize("channels", [16, pytest.param(48, marks=pytest.mark.slow)])
def test_released_shape(tmp_path, channels) -> None:
    """All hyper-parameters as published, in a third of the width or (slow: 84 M weights) all."""
    theirs = published(Published, {"channels": channels})
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    assert ours.spec.segment_samples == 40 * 44100
    assert_equal_forward(theirs, ours, (44100,))


@pytest.mark.parametrize(
    "changes",
    [{}, {"cac": False, "hybrid_old": True}, {"multi_freqs": [0.25, 0.5], "dconv_comp": 2}],
    ids=["complex", "old magnitudes", "bands"],
)
def test_gradients(tmp_path, changes) -> None:
    theirs = published(Published, TINY | changes)
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    assert_equal_gradients(theirs.train(), ours.train(), samples=14_000)


@pytest.mark.parametrize(
    ("seconds", "options"),
    [(1.9, {}), (0.001, {}), (1.3, {"overlap": 0.5}), (1.2, {"segment": 0.25})],
)
def test_the_engine_equals_apply_model(tmp_path, seconds, options) -> None:
    theirs = published(Published, TINY)
    ours = load_model(save_th(theirs, tmp_path / "feedcafe.th"))
    assert_equal_engine(theirs, ours, seconds=seconds, **options)


@pytest.mark.parametrize(
    "name", ["hdemucs_mmi, small", "magnitudes, damped phase", "bands of frequencies (mdx)"]
)
def test_export(tmp_path, name) -> None:
    from demucs.hf import load_safetensors_model
    from demucs.pretrained import get_model

    theirs = published(Published, CONFIGURATIONS[name])
    checkpoint = read_demucs(save_th(theirs, tmp_path / "feedcafe.th"))
    again = load_safetensors_model(export_hub(checkpoint, tmp_path / "out", name="again")[1])
    signature = export_th(checkpoint, tmp_path / "out").stem.partition("-")[0]
    for network in (again, get_model(signature, repo=tmp_path / "out")):
        assert isinstance(network, Published)
        assert network.state_dict().keys() == theirs.state_dict().keys()
        mixture = music(theirs, 2000)
        with torch.no_grad():
            assert_equal(network.eval()(mixture.clone()), theirs(mixture.clone()))


def test_the_older_name_of_the_class(tmp_path, monkeypatch) -> None:
    """Early files say ``demucs.wdemucs.WDemucs``, which is the same class today."""
    path = save_th(published(Published, TINY), tmp_path / "feedcafe.th")
    expected = read_demucs(path)
    content = torch.load(path, weights_only=False)
    older = type("WDemucs", (), {"__module__": "demucs.wdemucs"})
    monkeypatch.setattr("demucs.wdemucs.WDemucs", older)
    torch.save(content | {"klass": older}, path)
    assert b"WDemucs" in path.read_bytes()
    assert read_demucs(path).config == expected.config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hybrid": False}, "hybrid"),
        ({"cac": False, "wiener_iters": 2, "end_iters": 2}, "Wiener"),
        ({"channels_time": 16}, "channels_time"),
        ({"rewrite": False}, "rewrite"),
    ],
)
def test_what_no_published_weights_use_is_refused_by_name(tmp_path, changes, words) -> None:
    path = save_th(published(Published, TINY), tmp_path / "feedcafe.th")
    content = torch.load(path, weights_only=False)
    content["kwargs"] |= changes
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=words):
        read_demucs(path)


def test_an_unknown_option_that_is_off_does_not_matter(tmp_path) -> None:
    """The published package drops unknown options; of ours only those that say nothing go."""
    path = save_th(published(Published, TINY), tmp_path / "feedcafe.th")
    content = torch.load(path, weights_only=False)
    content["kwargs"] |= {"long_gone": False, "gone_too": []}
    torch.save(content, path)
    assert load_model(path).config == read_demucs(path).config
    content["kwargs"] |= {"long_gone": 3}
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="long_gone"):
        read_demucs(path)
