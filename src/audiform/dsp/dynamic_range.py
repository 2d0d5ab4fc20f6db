"""The gain of a compressor with four knobs, sample by sample.

As the software compressor of S. H. Hawley, B. Colburn and S. I. Mimilakis, "SignalTrain"
(arXiv:1905.11928), which is that of E. Tarr, "Hack Audio" (2018), chapter 18: a static curve in
dB, then a one-pole smoother whose coefficient depends on where the gain is going.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

#: Added to the magnitude, so that silence has a level.
MAGNITUDE_FLOOR = 1e-8

#: No level is lower.
LEVEL_FLOOR_DB = -96.0

#: From 10 % to 90 % of a step: exp(-ln 9) of it is left after the attack or release time.
RISE = math.log(9.0)


def static_gain_db(
    audio: Float[Tensor, "*leading time"], *, threshold_db: float, ratio: float
) -> Float[Tensor, "*leading time"]:
    """Return the gain in dB that the level of each sample asks for; 0 below the threshold."""
    level_db = (20.0 * torch.log10(audio.abs() + MAGNITUDE_FLOOR)).clamp(min=LEVEL_FLOOR_DB)
    return (level_db - threshold_db).clamp(min=0.0) * (1.0 / ratio - 1.0)


def smoothing(time_ms: float, sample_rate: int) -> float:
    """Return what is left of the old gain after a sample, for a 10-90 % time."""
    return math.exp(-RISE / (sample_rate * time_ms / 1000.0))


def smoothed_gain_db(
    wanted_db: Float[Tensor, "*leading time"],
    state_db: Float[Tensor, "*leading"],
    *,
    attack: float,
    release: float,
) -> Float[Tensor, "*leading time"]:
    """Follow ``wanted_db`` with :func:`smoothing` ``attack`` downwards and ``release`` upwards.

    The recursion is neither linear nor parallel; a plain loop over Python's numbers is faster
    here than tensors of one element by two orders of magnitude. float64 in and out; gradients
    end here.
    """
    rows = wanted_db.reshape(state_db.numel(), wanted_db.shape[-1])
    followed = [
        _follow(row, start, 1.0 - attack, 1.0 - release)
        for row, start in zip(rows.tolist(), state_db.reshape(-1).tolist(), strict=True)
    ]
    gain_db = torch.from_numpy(np.array(followed, dtype=np.float64))
    return gain_db.reshape(wanted_db.shape).to(wanted_db.device)


def _follow(wanted: list[float], gain: float, falling: float, rising: float) -> list[float]:
    followed: list[float] = []
    append = followed.append
    for value in wanted:
        way = value - gain
        gain += way * (falling if way < 0.0 else rising)
        append(gain)
    return followed
