"""What a compressor does to level: its static curve, and how fast it gets there.

``process`` is an effect at one setting: (1, time) in, (1, time) out, silence before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Process = Callable[[Float[Tensor, "1 time"]], Float[Tensor, "1 time"]]

#: The carrier whose level is changed. A square wave has one magnitude, so the gain can be read
#: at every sample.
CARRIER_HZ = 1000.0

#: Levels at which static curves are compared.
LEVELS_DB = tuple(float(level) for level in range(-60, 1, 5))

#: The last part of a stretch, where the gain is taken to have settled.
SETTLED_SHARE = 0.1

#: A step that moves the gain by less shows no times.
SMALLEST_STEP_DB = 0.1


@dataclass(frozen=True)
class StepTimes:
    """From 10 to 90 % of the way in ms, down and up; NaN where the gain hardly moves."""

    attack_ms: float
    release_ms: float


def static_curve_db(
    process: Process, *, sample_rate: int, levels_db: Sequence[float], seconds: float = 0.5
) -> Float[Tensor, " level"]:
    """Return the gain in dB that a steady square wave of each level settles at."""
    gains = []
    for level_db in levels_db:
        dry = 10.0 ** (level_db / 20.0) * _carrier(round(seconds * sample_rate), sample_rate)
        settled = round(SETTLED_SHARE * dry.shape[-1])
        gains.append(_gain_db(process(dry), dry)[-settled:].mean())
    return torch.stack(gains)


def static_curve_error_db(
    *,
    estimate: Process,
    reference: Process,
    sample_rate: int,
    levels_db: Sequence[float] = LEVELS_DB,
    seconds: float = 0.5,
) -> float:
    """Return the RMS difference in dB of both static curves."""
    curves = [
        static_curve_db(process, sample_rate=sample_rate, levels_db=levels_db, seconds=seconds)
        for process in (estimate, reference)
    ]
    return (curves[0] - curves[1]).square().mean().sqrt().item()


def step_times(
    process: Process,
    *,
    sample_rate: int,
    low_db: float = -40.0,
    high_db: float = -3.0,
    seconds: float = 0.5,
) -> StepTimes:
    """Return how fast the gain follows a step from ``low_db`` to ``high_db`` and back.

    Each level lasts ``seconds``, which should be several times the longest time.
    """
    length = round(seconds * sample_rate)
    levels = torch.tensor([low_db, high_db, low_db]).repeat_interleave(length)
    dry = 10.0 ** (levels / 20.0) * _carrier(3 * length, sample_rate)
    gain_db = _gain_db(process(dry), dry)
    attack, release = (
        1000.0 * _rise_samples(gain_db, start=start, length=length) / sample_rate
        for start in (length, 2 * length)
    )
    return StepTimes(attack_ms=attack, release_ms=release)


def _carrier(samples: int, sample_rate: int) -> Float[Tensor, "1 time"]:
    half_periods = torch.arange(samples) * (2 * CARRIER_HZ) // sample_rate
    return torch.where(half_periods % 2 == 0, 1.0, -1.0)[None]


def _gain_db(wet: Tensor, dry: Tensor) -> Float[Tensor, " time"]:
    return (20.0 * torch.log10((wet / dry).abs().double().clamp(min=1e-10)))[0]


def _rise_samples(gain_db: Tensor, *, start: int, length: int) -> float:
    """Return the samples from 10 to 90 % between the gains before ``start`` and at its end."""
    settled = round(SETTLED_SHARE * length)
    before = gain_db[start - settled : start].mean()
    after = gain_db[start + length - settled : start + length].mean()
    if (after - before).abs() < SMALLEST_STEP_DB:
        return math.nan
    share = (gain_db[start : start + length] - before) / (after - before)
    return float((share > 0.9).int().argmax() - (share > 0.1).int().argmax())
