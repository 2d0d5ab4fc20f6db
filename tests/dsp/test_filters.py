"""Filters and convolution against direct sums and the difference equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiform.dsp.biquad import Biquad, bell, high_shelf, low_shelf
from audiform.dsp.convolve import convolve
from audiform.dsp.fast_length import fast_length
from audiform.dsp.onset_strength import onset_strength, pick_onsets

RATE = 44100


def impulse_response(filter_: Biquad, length: int) -> np.ndarray:
    """Run the difference equation, sample by sample."""
    b, a = filter_.numerator.double().numpy(), filter_.denominator.double().numpy()
    x, y = np.zeros(length + 2), np.zeros(length + 2)
    x[2] = 1.0
    for n in range(2, length + 2):
        y[n] = (b @ x[n - 2 : n + 1][::-1] - a[1:] @ y[n - 2 : n][::-1]) / a[0]
    return y[2:]


def filters() -> dict[str, Biquad]:
    def value(number: float) -> torch.Tensor:
        return torch.tensor(number, dtype=torch.float64)

    return {
        "low": low_shelf(corner_hz=value(800.0), gain_db=value(6.0), sample_rate=RATE),
        "high": high_shelf(corner_hz=value(4000.0), gain_db=value(-5.0), sample_rate=RATE),
        "bell": bell(
            centre_hz=value(2000.0), gain_db=value(4.0), quality=value(1.5), sample_rate=RATE
        ),
    }


@pytest.mark.parametrize("name", ["low", "high", "bell"])
def test_the_response_is_that_of_the_difference_equation(name) -> None:
    filter_ = filters()[name]
    frequencies = torch.linspace(0, math.pi, 2049, dtype=torch.float64)
    expected = np.fft.rfft(impulse_response(filter_, 4096))
    np.testing.assert_allclose(filter_.response(frequencies).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "hz", "gain_db"),
    [
        ("low", 0.0, 6.0), ("low", 800.0, 3.0), ("low", 22050.0, 0.0),
        ("high", 0.0, 0.0), ("high", 4000.0, -2.5), ("high", 22050.0, -5.0),
        ("bell", 0.0, 0.0), ("bell", 2000.0, 4.0), ("bell", 22050.0, 0.0),
    ],
)  # fmt: skip
def test_gains_at_the_ends_and_at_the_corner(name, hz, gain_db) -> None:
    frequency = torch.tensor([2 * math.pi * hz / RATE], dtype=torch.float64)
    response = filters()[name].response(frequency)
    assert 20 * response.abs().log10().item() == pytest.approx(gain_db, abs=1e-6)


def test_convolution_is_the_direct_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 3, 200, generator=generator, dtype=torch.float64)
    response = torch.randn(2, 1, 31, generator=generator, dtype=torch.float64)
    result = convolve(audio, response).numpy()
    for one in range(2):
        for channel in range(3):
            expected = np.convolve(audio[one, channel].numpy(), response[one, 0].numpy())[:200]
            np.testing.assert_allclose(result[one, channel], expected, atol=1e-12)


def test_fast_lengths_are_the_smallest() -> None:
    def is_smooth(number: int) -> bool:
        for factor in (2, 3, 5):
            while number % factor == 0:
                number //= factor
        return number == 1

    for wanted in (1, 2, 7, 11, 121, 1001, 4097):
        expected = next(n for n in range(wanted, 2 * wanted + 1) if is_smooth(n))
        assert fast_length(wanted) == expected


def test_onsets_are_found_within_a_hop() -> None:
    audio = torch.zeros(2, 2 * RATE)
    times = [10_000, 30_000, 47_000, 70_000]
    decay = torch.exp(-torch.arange(8000) / 1000)
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    for at in times:
        audio[:, at : at + 8000] += 0.3 * noise * decay
    strength = onset_strength(audio, sample_rate=RATE, n_fft=1024, hop_length=256)
    assert strength.shape == (2 * RATE // 256 + 1, 9)
    found = pick_onsets(strength.sum(dim=-1), min_gap_frames=8, threshold=10.0) * 256
    assert len(found) == len(times)
    assert (found - torch.tensor(times)).abs().max() <= 512
