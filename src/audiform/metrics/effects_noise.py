"""What a learned effect adds that is not there: hiss in silence and under a tone, combs, aliasing.

Levels are 20 log10 of the RMS, so that a sine at full scale reads -3.01 dB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.errors import AudioError
from audiform.metrics.shapes import require_equal_shapes

#: No level is lower: the power 1e-20 stands for silence.
SILENCE_DB = -200.0

#: What is above is heard as hiss alone.
TREBLE_HZ = 10_000.0


@dataclass(frozen=True)
class ResidualNoise:
    """Levels of an error in dB: all of it, as ears weigh it (A), and above 10 kHz."""

    level_db: float
    a_weighted_db: float
    treble_db: float


def residual_noise(
    *,
    estimate: Float[Tensor, "channels time"],
    reference: Float[Tensor, "channels time"],
    sample_rate: int,
) -> ResidualNoise:
    """Return how loud the difference is.

    Meant for the answers to silence and to a steady tone, whose error is noise and nothing else.
    Raises :class:`AudioError` where the shapes differ.
    """
    require_equal_shapes(estimate, reference)
    error = estimate.double() - reference.double()
    power = _powers(error)
    hz = torch.linspace(0.0, sample_rate / 2, power.shape[-1], dtype=torch.float64).to(power)
    return ResidualNoise(
        level_db=_db(error.square().mean()),
        a_weighted_db=_db((power * a_weighting(hz).square()).sum()),
        treble_db=_db(power[hz >= TREBLE_HZ].sum()),
    )


def _db(power: Tensor) -> float:
    return max(SILENCE_DB, 10.0 * math.log10(max(power.item(), 1e-30)))


def _powers(audio: Tensor) -> Float[Tensor, " bin"]:
    """Return the mean power of all channels in each bin from 0 to half the rate; they sum to it."""
    length = audio.shape[-1] // 2 * 2
    spectrum = torch.fft.rfft(audio[..., :length]).abs().square() / length**2
    spectrum[..., 1:-1] *= 2.0
    return spectrum.mean(dim=0)


def a_weighting(hz: Float[Tensor, " bin"]) -> Float[Tensor, " bin"]:
    """Return the A-weighting of IEC 61672-1 as a factor; about 1 at 1 kHz."""
    square = hz.double().square()
    low, high = 20.598997**2, 12194.217**2
    middle = torch.sqrt((square + 107.65265**2) * (square + 737.86223**2))
    factor = high * square.square() / ((square + low) * middle * (square + high))
    return factor * 10.0 ** (2.0 / 20.0)


def periodic_share(
    error: Float[Tensor, "channels time"], *, period_samples: int
) -> Float[Tensor, ""]:
    """Return the share of an error's energy that repeats every ``period_samples``.

    1 where it is a comb at the multiples of rate / period, as blocks that are put side by side
    leave it; 1 / n for noise over n periods. Raises :class:`AudioError` for fewer than two.
    """
    periods = error.double()[..., : error.shape[-1] // period_samples * period_samples]
    periods = periods.unflatten(-1, (-1, period_samples))
    if periods.shape[-2] < 2:
        raise AudioError(
            f"{error.shape[-1]} samples hold less than two periods of {period_samples}; "
            "give a longer error"
        )
    energy = periods.square().sum()
    return periods.mean(dim=-2).square().sum() * periods.shape[-2] / energy.clamp(min=1e-30)


def level_by_position_db(
    error: Float[Tensor, "channels time"], *, period_samples: int
) -> Float[Tensor, " period"]:
    """Return the error's level at each position of its blocks: which part of them is worse."""
    whole = error.double()[..., : error.shape[-1] // period_samples * period_samples]
    power = whole.unflatten(-1, (-1, period_samples)).square().mean(dim=(0, 1))
    return (10.0 * torch.log10(power.clamp(min=1e-30))).clamp(min=SILENCE_DB)


def aliasing_db(
    process: Callable[[Float[Tensor, "1 time"]], Float[Tensor, "1 time"]],
    *,
    sample_rate: int,
    tone_hz: float,
    level: float = 0.5,
    length_samples: int = 1 << 15,
) -> float:
    """Return the power that is at no harmonic of a tone over that at its harmonics, in dB.

    ``process`` gets the tone twice as long as it is looked at, and the second half counts. The
    tone is moved to the nearest frequency of which an odd number of periods fits, so that
    nothing leaks and what is folded back falls between the harmonics. 0 Hz counts for neither.
    """
    periods = 2 * round((tone_hz * length_samples / sample_rate - 1) / 2) + 1
    if not 1 <= periods < length_samples // 2:
        raise AudioError(
            f"a tone of {tone_hz:g} Hz was asked for in {length_samples} samples at "
            f"{sample_rate} Hz; choose one below {sample_rate / 2:g} Hz"
        )
    steps = torch.arange(2 * length_samples, dtype=torch.float64)
    tone = level * torch.sin(2 * math.pi * periods / length_samples * steps)
    wet = process(tone[None].float()).double()[..., length_samples:]
    power = _powers(wet)
    is_harmonic = torch.zeros_like(power, dtype=torch.bool)
    is_harmonic[periods::periods] = True
    power[0] = 0.0
    return _db(power[~is_harmonic].sum()) - _db(power[is_harmonic].sum())


def aliasing_by_tone_db(
    process: Callable[[Float[Tensor, "1 time"]], Float[Tensor, "1 time"]],
    *,
    sample_rate: int,
    tones_hz: tuple[float, ...] = (1000.0, 1779.0, 3163.0, 5623.0, 10_000.0),
) -> dict[float, float]:
    """Return :func:`aliasing_db` for tones from 1 to 10 kHz, by the frequency asked for."""
    return {
        hz: aliasing_db(process, sample_rate=sample_rate, tone_hz=hz)
        for hz in tones_hz
        if hz < sample_rate / 2
    }
