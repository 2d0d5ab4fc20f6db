from __future__ import annotations

import math

import pytest
import torch

from audiform.dsp.band_end import band_end_hz

RATE = 44100


def noise(cutoff_hz: float | None, *, octave_db: float = 0.0) -> torch.Tensor:
    spectrum = torch.fft.rfft(torch.randn(2, 4 * RATE, generator=torch.Generator().manual_seed(0)))
    hz = torch.linspace(0, RATE / 2, spectrum.shape[-1])
    gain = 10 ** (-octave_db / 20 * torch.log2((hz / 100).clamp(min=1.0)))
    if cutoff_hz is not None:
        gain = gain * (hz < cutoff_hz)
    return torch.fft.irfft(spectrum * gain)


@pytest.mark.parametrize("cutoff_hz", [4000.0, 8000.0, 9700.0, 12000.0])
def test_a_wall_is_found(cutoff_hz):
    # steps of 50 Hz, and a band of a sixth around
    assert band_end_hz(noise(cutoff_hz), sample_rate=RATE) == pytest.approx(cutoff_hz, rel=0.04)


@pytest.mark.parametrize("octave_db", [0.0, 6.0, 24.0])
def test_what_falls_slowly_has_no_end(octave_db):
    assert math.isinf(band_end_hz(noise(None, octave_db=octave_db), sample_rate=RATE))


def test_silence_and_what_is_short_have_none():
    assert math.isinf(band_end_hz(torch.zeros(2, RATE), sample_rate=RATE))
    assert math.isinf(band_end_hz(torch.zeros(2, 100), sample_rate=RATE))


def test_nothing_is_missed_above_what_is_soft():
    # 18 dB an octave: 114 dB below 100 Hz at 8 kHz, and level below that
    soft = noise(8000.0, octave_db=18.0)
    assert math.isinf(band_end_hz(soft, sample_rate=RATE))
    assert band_end_hz(noise(8000.0, octave_db=6.0), sample_rate=RATE) < 8300.0
