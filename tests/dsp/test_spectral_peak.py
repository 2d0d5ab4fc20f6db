from __future__ import annotations

import torch

from audiform.dsp.level import Normalisation
from audiform.dsp.spectral_peak import SpectralPeak
from audiform.dsp.stft import StftSpec, stft
from audiform.protocols import TrackStatistic

SPEC = StftSpec(n_fft=64, hop_length=32)


def scale(audio: torch.Tensor, *, block: int) -> float:
    statistic = SpectralPeak(SPEC)
    for piece in audio.split(block, dim=-1):
        statistic = statistic.update(piece)
    return statistic.normalisation().scale


def test_is_a_statistic_of_a_track() -> None:
    assert isinstance(SpectralPeak(SPEC), TrackStatistic)


def test_is_the_largest_magnitude_however_the_blocks_fall() -> None:
    audio = torch.randn(2, 1003, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(audio, (32, 96))
    expected = stft(padded, SPEC, centred=False).abs().max().item()
    for block in (1, 5, 31, 32, 64, 200, 1003):
        assert abs(scale(audio, block=block) - expected) < 1e-6


def test_a_peak_in_the_last_samples_counts() -> None:
    audio = 0.01 * torch.ones(1, 500)
    quiet = scale(audio, block=100)
    audio[:, -3:] = 1
    assert scale(audio, block=100) > 3 * quiet


def test_silence_keeps_its_level() -> None:
    assert SpectralPeak(SPEC).normalisation() == Normalisation()
    assert scale(torch.zeros(2, 300), block=100) == 1.0
