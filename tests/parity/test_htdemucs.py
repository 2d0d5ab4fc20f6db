"""HT Demucs against the published package: the network, its gradients, the engine, the program."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch

from audiform.checkpoints import load_model
from audiform.dsp.level import Normalisation
from audiform.inference.engine import SegmentRunner, SegmentStream
from audiform.inference.ensemble import StreamMean
from audiform.inference.separator import Separator
from audiform.inference.windows import plan_windows
from tests.parity.oracle import assert_equal_gradients

pytest.importorskip("demucs", reason="the published package is the oracle")
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs as Published

TINY = {
    "channels": 8,
    "bottom_channels": 32,
    "t_heads": 4,
    "t_layers": 3,
    "dconv_mode": 3,
    "segment": Fraction(2),
}
CONFIGURATIONS = {
    "as released, small": TINY,
    "as wide as the U-Net": {**TINY, "bottom_channels": 0, "t_heads": 8},
    "no branches in the decoder": {**TINY, "dconv_mode": 1},
    "cross-attention first": {**TINY, "t_cross_first": True, "t_layers": 2},
    "six sources, other sizes": {
        **TINY,
        "sources": ["drums", "bass", "other", "vocals", "guitar", "piano"],
        "growth": 3,
        "depth": 3,
        "nfft": 1024,
        "t_hidden_scale": 2.0,
    },
    "group norms, no embedding": {**TINY, "norm_starts": 2, "freq_emb": 0.0},
    "mono at another rate": {**TINY, "audio_channels": 1, "samplerate": 16000},
    "segment of a fraction": {**TINY, "segment": Fraction(39, 20)},
}
#: Rounding of float32 over some fifty layers; the package against itself differs by 3e-7.
TOLERANCE = 1e-5


def published(tmp_path, options, *, seed=0):
    """Make a network of the package, save it in its own format; return it and the file."""
    torch.manual_seed(seed)
    options = dict(options)
    sources = options.pop("sources", ["drums", "bass", "other", "vocals"])
    network = Published(sources, **options).eval()
    with torch.no_grad():  # layer scales start near zero and would hide the transformer
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    network.half().float()  # files hold half precision
    path = tmp_path / "feedcafe.th"
    state = {key: value.half() for key, value in network.state_dict().items()}
    torch.save(
        {"klass": Published, "args": (sources,), "kwargs": options, "state": state,
         "training_args": {}},
        path,
    )  # fmt: skip
    return network, path


def music(network, seconds, *, seed=1):
    generator = torch.Generator().manual_seed(seed)
    length = int(seconds * network.samplerate)
    return 0.1 * torch.randn(network.audio_channels, length, generator=generator)


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_forward(tmp_path, options) -> None:
    theirs, path = published(tmp_path, options)
    ours = load_model(path)
    for seconds in (theirs.segment, Fraction(1, 3)):
        mixture = music(theirs, seconds)[None]
        with torch.no_grad():
            expected, found = theirs(mixture.clone()), ours(mixture)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_gradients(tmp_path) -> None:
    # branches of one channel would have a bias that the norm after it takes out again
    theirs, path = published(tmp_path, {**TINY, "dconv_comp": 4})
    assert_equal_gradients(theirs, load_model(path), samples=88_200)


@pytest.mark.parametrize(
    ("seconds", "options"),
    [
        (7.1, {}),
        (0.01, {}),
        (5.0, {"overlap": 0.5}),
        (5.0, {"segment": 1}),
        (4.2, {"overlap": 0.0}),
    ],
)
def test_the_engine_equals_apply_model(tmp_path, seconds, options) -> None:
    theirs, path = published(tmp_path, TINY)
    ours = load_model(path)
    mixture = music(theirs, seconds)
    with torch.no_grad():
        expected = apply_model(theirs, mixture[None], shifts=0, **options)[0]
    segment = options.get("segment")
    plan = plan_windows(
        ours,
        overlap=options.get("overlap"),
        segment_samples=None if segment is None else segment * 44100,
    )
    stream = SegmentStream(
        SegmentRunner(ours, device=torch.device("cpu"), batch_size=2),
        plan,
        normalisation=Normalisation(),
    )
    found = torch.cat([*(stream.push(p) for p in mixture.split(30_000, -1)), stream.finish()], -1)
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_shifts_equal_apply_model_for_the_same_delays(tmp_path, monkeypatch) -> None:
    theirs, path = published(tmp_path, TINY)
    ours = load_model(path)
    mixture = music(theirs, 4.3)
    offsets = [1234, 20_000]
    drawn = iter(offsets)
    monkeypatch.setattr("demucs.apply.random.randint", lambda low, high: next(drawn))
    with torch.no_grad():
        expected = apply_model(theirs, mixture[None], shifts=2)[0]
    streams = [
        SegmentStream(
            SegmentRunner(ours, device=torch.device("cpu")),
            plan_windows(ours),
            normalisation=Normalisation(),
            delay_samples=22050 - offset,
        )
        for offset in offsets
    ]
    mean = StreamMean(streams, [[1.0] * 4] * 2)
    found = torch.cat([mean.push(mixture), mean.finish()], dim=-1)
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.fixture
def song(tmp_path):
    time = np.arange(3 * 44100) / 44100
    tones = [np.sin(2 * np.pi * hz * time) * np.exp(-(time % 0.5) * 4) for hz in (110, 441, 1870)]
    left = sum(tones) / 6 + 0.01
    right = tones[0] / 5 - tones[1] / 7 + 0.01
    noise = np.random.default_rng(0).standard_normal((len(time), 2)) / 50
    path = tmp_path / "song.wav"
    soundfile.write(path, np.stack([left, right], axis=1) + noise, 44100, subtype="PCM_16")
    return path


def test_file_to_file(tmp_path, song) -> None:
    _, checkpoint = published(tmp_path, TINY)
    common = ["-n", "feedcafe", "--repo", str(checkpoint.parent), "--shifts", "0", "--float32",
              "--clip-mode", "none", str(song)]  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "demucs", "-d", "cpu", "-o", str(tmp_path / "theirs"), *common],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "audiform", "separate", "--compat", "demucs",
         "-o", str(tmp_path / "ours"), *common],
        check=True, capture_output=True,
    )  # fmt: skip
    for name in ("drums", "bass", "other", "vocals"):
        expected, _ = soundfile.read(tmp_path / "theirs" / "feedcafe" / "song" / f"{name}.wav")
        found, _ = soundfile.read(tmp_path / "ours" / "feedcafe" / "song" / f"{name}.wav")
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_the_compat_class_equals_theirs(tmp_path, song) -> None:
    from demucs.api import Separator as TheirSeparator

    from audiform.compat.demucs import Separator as CompatSeparator

    _, checkpoint = published(tmp_path, TINY)
    options = {"model": "feedcafe", "repo": checkpoint.parent, "shifts": 0, "device": "cpu"}
    _, expected = TheirSeparator(**options).separate_audio_file(song)
    events = []
    ours = CompatSeparator(**options, callback=events.append, callback_arg={"mine": 1})
    mixture, found = ours.separate_audio_file(song)
    assert list(found) == list(expected)
    for name, stem in expected.items():
        assert (found[name] - stem).abs().max() <= TOLERANCE * stem.abs().max()
    assert mixture.shape == (2, 3 * 44100)
    assert events[-1]["mine"] == 1
    assert events[-1]["audio_length"] == events[-1]["segment_offset"] == 3 * 44100


def test_without_compat_the_mean_of_the_mixture_is_left_out(tmp_path, song) -> None:
    _, checkpoint = published(tmp_path, TINY)
    plain = Separator(checkpoint).separate_file(song)
    restored = Separator(checkpoint, restore_offset=True).separate_file(song)
    mean = soundfile.read(song)[0].mean()
    for name in plain:
        difference = restored[name].samples - plain[name].samples
        torch.testing.assert_close(difference, torch.full_like(difference, mean), atol=1e-5, rtol=0)
