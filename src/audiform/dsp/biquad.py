"""Shelves and bells as filters of second order, and what they do to each frequency.

R. Bristow-Johnson, "Audio EQ Cookbook", https://www.w3.org/TR/audio-eq-cookbook/.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor


@dataclass(frozen=True)
class Biquad:
    """Coefficients of H(z) = (b0 + b1/z + b2/z²) / (a0 + a1/z + a2/z²), last dimension 3."""

    numerator: Float[Tensor, "*leading 3"]
    denominator: Float[Tensor, "*leading 3"]

    def response(self, frequencies: Float[Tensor, " bin"]) -> Complex[Tensor, "*leading bin"]:
        """Return H at angular ``frequencies`` in [0, pi]."""
        powers = torch.exp(-1j * torch.stack([0 * frequencies, frequencies, 2 * frequencies]))
        above = self.numerator.to(powers.dtype) @ powers
        return above / (self.denominator.to(powers.dtype) @ powers)


def bell(
    *,
    centre_hz: Float[Tensor, "*leading"],
    gain_db: Float[Tensor, "*leading"],
    quality: Float[Tensor, "*leading"],
    sample_rate: int,
) -> Biquad:
    """Raise or lower the surroundings of ``centre_hz``; ``quality`` is centre over width."""
    amplitude = 10.0 ** (gain_db / 40.0)
    angle = 2 * math.pi * centre_hz / sample_rate
    alpha = angle.sin() / (2 * quality)
    cosine = -2 * angle.cos()
    return Biquad(
        torch.stack([1 + alpha * amplitude, cosine, 1 - alpha * amplitude], dim=-1),
        torch.stack([1 + alpha / amplitude, cosine, 1 - alpha / amplitude], dim=-1),
    )


def low_shelf(
    *, corner_hz: Float[Tensor, "*leading"], gain_db: Float[Tensor, "*leading"], sample_rate: int
) -> Biquad:
    """Raise or lower all below ``corner_hz``, as steeply as without a bump (slope 1)."""
    return _shelf(corner_hz, gain_db, sample_rate, sign=1.0)


def high_shelf(
    *, corner_hz: Float[Tensor, "*leading"], gain_db: Float[Tensor, "*leading"], sample_rate: int
) -> Biquad:
    """Raise or lower all above ``corner_hz``, as steeply as without a bump (slope 1)."""
    return _shelf(corner_hz, gain_db, sample_rate, sign=-1.0)


def _shelf(corner_hz: Tensor, gain_db: Tensor, sample_rate: int, *, sign: float) -> Biquad:
    a = 10.0 ** (gain_db / 40.0)
    angle = 2 * math.pi * corner_hz / sample_rate
    cosine = sign * angle.cos()
    bend = 2 * a.sqrt() * angle.sin() / math.sqrt(2)
    up, down = a + 1, a - 1
    numerator = [
        a * (up - down * cosine + bend),
        sign * 2 * a * (down - up * cosine),
        a * (up - down * cosine - bend),
    ]
    denominator = [
        up + down * cosine + bend,
        sign * -2 * (down + up * cosine),
        up + down * cosine - bend,
    ]
    return Biquad(torch.stack(numerator, dim=-1), torch.stack(denominator, dim=-1))
