"""Delays that are known, through every reference effect and through devices that it lacks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.signal
import torch

from audiform.data.effect_alignment import aligned, estimate_alignment, piece_lags
from audiform.data.effect_inputs import pink_noise
from audiform.effects import EFFECTS
from audiform.errors import AudioError

RATE = 22050
SECONDS = 5.0


@cache
def dry_sound(kind: str) -> torch.Tensor:
    """Hits of noise, plucked chords, or noise under a moving level; (time)."""
    rng = np.random.default_rng(len(kind))
    count = round(SECONDS * RATE)
    time = np.arange(count) / RATE
    audio = np.zeros(count)
    if kind == "hits":
        for start in np.cumsum(rng.uniform(0.1, 0.4, 40)):
            since = time - start
            tail = np.exp(-rng.uniform(8, 40) * np.maximum(since, 0)) * (since >= 0)
            body = np.sin(2 * np.pi * rng.uniform(60, 200) * since)
            audio += tail * (0.4 * body + 0.15 * rng.normal(size=count))
    elif kind == "plucks":
        for start in np.cumsum(rng.uniform(0.15, 0.5, 30)):
            since = np.maximum(time - start, 0)
            f0 = 82.4 * 2 ** (rng.integers(0, 30) / 12)
            for partial in range(1, 25):
                tone = np.sin(2 * np.pi * f0 * partial * (1 + 2e-4 * partial**2) * since)
                decay = np.exp(-(2 + 0.6 * partial) * since) * (time >= start)
                audio += 0.25 / partial * decay * tone
        audio += 3e-5 * rng.normal(size=count)
    else:
        audio = pink_noise(rng, count) * (0.5 + 0.45 * np.sin(2 * np.pi * 0.7 * time))
    audio = np.float32(0.7 * audio / np.abs(audio).max())
    return torch.from_numpy(audio)


def late(wet: torch.Tensor, samples: int) -> torch.Tensor:
    """Delay and cut as a recorder does; negative: early."""
    moved = torch.zeros_like(wet)
    if samples >= 0:
        moved[samples:] = wet[: len(wet) - samples]
    else:
        moved[:samples] = wet[-samples:]
    return moved


def sixteen_bits(wet: torch.Tensor) -> torch.Tensor:
    return torch.round(wet * 32767) / 32767


POSITIONS = [
    ("compressor", {}),
    ("compressor", {"threshold_db": -30.0, "ratio": 5.0, "attack_ms": 1.0, "release_ms": 1.0}),
    ("compressor-large", {}),
    (
        "compressor-large",
        {"threshold_db": -50.0, "ratio": 10.0, "attack_ms": 1000.0, "release_ms": 1000.0},
    ),
    ("distortion", {"drive_db": 12.0}),
    ("distortion", {"drive_db": 40.0}),
    ("distortion", {"drive_db": 30.0, "asymmetry": 0.5}),
    ("echo", {}),
    ("echo", {"delay_ms": 5.0, "ratio": 1.0}),
    ("echo", {"delay_ms": 120.0, "ratio": 1.0}),
    ("equaliser", {}),
    ("equaliser", {"low_gain_db": 15.0, "mid_gain_db": -15.0, "high_gain_db": -15.0}),
    ("low-pass", {"cutoff_hz": 200.0}),
    ("low-pass", {}),
    ("low-pass", {"cutoff_hz": 2000.0}),
    ("reverb", {}),
    ("reverb", {"mix": 0.6, "pre_delay_ms": 0.0}),
    ("tremolo", {}),
    ("tremolo", {"rate_hz": 12.0, "depth": 1.0}),
]


@pytest.mark.parametrize(("name", "settings"), POSITIONS, ids=lambda value: str(value))
@pytest.mark.parametrize("kind", ["hits", "plucks", "noise"])
def test_the_delay_of_every_reference_effect(name, settings, kind):
    dry = dry_sound(kind)
    lag = {"hits": 137, "plucks": -1, "noise": 7060}[kind]
    wet = EFFECTS[name].apply(dry[None], RATE, **settings)[0]
    sign = -1 if kind == "plucks" else 1
    found = estimate_alignment(dry=dry, wet=sixteen_bits(sign * late(wet, lag)), sample_rate=RATE)
    assert abs(found.lag_samples - lag) <= 1
    assert found.polarity == sign
    assert found.confidence > 0.6


def test_a_low_pass_at_10_hz_is_told_as_well_as_its_bandwidth_allows():
    dry = dry_sound("hits")
    wet = EFFECTS["low-pass"].apply(dry[None], RATE, cutoff_hz=10.0)[0]
    found = estimate_alignment(dry=dry, wet=late(wet, 500), sample_rate=RATE)
    peak = int(torch.fft.irfft(torch.fft.rfft(dry).conj() * torch.fft.rfft(wet)).argmax())
    assert peak > 300  # where a plain correlation would look
    assert abs(found.lag_samples - 500) <= max(1.0, 0.1 * RATE / found.bandwidth_hz)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_what_does_not_move_has_no_delay(level):
    constant = torch.full((RATE,), level)
    found = estimate_alignment(dry=constant, wet=dry_sound("hits")[:RATE], sample_rate=RATE)
    assert found.confidence == 0.0
    assert estimate_alignment(dry=constant, wet=constant, sample_rate=RATE).confidence == 0.0


def fuzz(dry):
    return 0.3 * torch.tanh(200 * dry)


def gate(dry):
    return dry * (dry.abs() > 0.1)


def high_pass(dry):
    return filtered(dry, *scipy.signal.butter(2, 300, "high", fs=RATE))


def amplifier(dry):
    warm = filtered(dry, *scipy.signal.butter(1, 700, "high", fs=RATE))
    return filtered(torch.tanh(30 * warm), *scipy.signal.butter(2, 4000, fs=RATE))


def filtered(dry, b, a):
    return torch.from_numpy(scipy.signal.lfilter(b, a, dry.numpy()).astype(np.float32))


@pytest.mark.parametrize("device", [fuzz, gate, high_pass, amplifier])
@pytest.mark.parametrize("kind", ["hits", "plucks", "noise"])
def test_the_delay_of_other_devices(device, kind):
    dry = dry_sound(kind)
    found = estimate_alignment(dry=dry, wet=late(device(dry), 60), sample_rate=RATE)
    assert abs(found.lag_samples - 60) <= 2
    assert found.polarity == 1


def test_an_octave_fuzz_is_found_by_the_rectified_input_and_has_no_polarity():
    dry = dry_sound("noise")
    found = estimate_alignment(dry=dry, wet=late(dry.abs(), 60), sample_rate=RATE)
    assert (found.lag_samples, found.polarity) == (60, 0)


def test_parts_of_a_sample_and_gain():
    dry = dry_sound("noise")
    spectrum = torch.fft.rfft(dry.double())
    bins = torch.arange(len(spectrum))
    moved = torch.fft.irfft(spectrum * torch.exp(-2j * torch.pi * bins * 40.25 / len(dry)))
    wet = 0.3 * moved.float()
    found = estimate_alignment(dry=dry, wet=wet, sample_rate=RATE)
    assert found.lag_samples + found.remainder_samples == pytest.approx(40.25, abs=0.13)
    assert found.gain == pytest.approx(0.3, rel=0.05)


def test_another_recording_has_no_confidence():
    found = estimate_alignment(dry=dry_sound("hits"), wet=dry_sound("noise"), sample_rate=RATE)
    assert found.confidence < 0.3


def test_silence_has_no_confidence():
    dry = dry_sound("hits")
    assert estimate_alignment(dry=dry, wet=0 * dry, sample_rate=RATE).confidence == 0.0


def test_too_little_sound_is_refused():
    with pytest.raises(AudioError, match="at least 1024 samples, got 100 dry"):
        estimate_alignment(dry=torch.ones(100), wet=torch.ones(5000), sample_rate=RATE)


def test_stereo_against_mono_of_another_length():
    dry = dry_sound("noise")
    wet = torch.stack([late(dry, 20), 0.5 * late(dry, 20)])[:, : 3 * RATE]
    found = estimate_alignment(dry=dry[None], wet=wet, sample_rate=RATE)
    assert found.lag_samples == 20


@pytest.mark.parametrize("lag", [-3, 0, 5])
def test_aligned_cuts_both_to_what_they_share(lag):
    dry = torch.arange(100.0)
    wet = torch.arange(90.0) - lag
    first, second = aligned(dry, wet, lag)
    assert torch.equal(first, second)
    assert len(first) == min(100 - max(0, -lag), 90 - max(0, lag))


def test_pieces_show_where_buffers_were_lost():
    dry = dry_sound("noise")
    wet = torch.cat([dry[: 2 * RATE], dry[2 * RATE + 512 :]])
    lags = piece_lags(dry=dry, wet=wet, sample_rate=RATE, lag_samples=0)
    before = [piece.lag_samples for piece in lags if piece.seconds < 1.6]
    after = [piece.lag_samples for piece in lags if piece.seconds > 2.4]
    assert len(before) >= 2
    assert len(after) >= 3
    assert before == pytest.approx([0] * len(before), abs=0.5)
    assert after == pytest.approx([-512] * len(after), abs=0.5)
