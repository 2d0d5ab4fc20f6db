"""Envelope followers with exponential memory, run in parallel over time and carried on exactly.

Both recursions forget at a rate of ``exp(-rate)`` a sample. Multiplied by ``exp(rate * t)`` they
become a running sum and a running maximum, which need no loop over samples; stretches of
:data:`STRETCH` samples keep that factor within double precision, in which all of it is computed:
in single precision a release of seconds loses what a block of one sample adds to it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: Samples that are computed at once; times the fastest rate, the exponent stays below 700.
STRETCH = 512

#: The fastest rate: memory of one sample.
FASTEST_RATE = 1.0


def follow_peaks(
    level: Float[Tensor, "batch band time"],
    rate: Float[Tensor, "batch band"],
    state: Float[Tensor, "batch band"],
) -> tuple[Float[Tensor, "batch band time"], Float[Tensor, "batch band"]]:
    """Rise with ``level`` at once and fall back to it slowly: y = max(u, a y + (1 - a) u).

    a is exp(-``rate``), y before the first sample is ``state``; returns y, and its last value as
    the next state, in double precision. The release half of the smooth decoupled peak detector
    of D. Giannoulis, M. Massberg and J. Reiss, "Digital dynamic range compressor design", 2012,
    equation 17.
    """
    parts = []
    for part in level.double().split(STRETCH, dim=-1):
        growth = _growth(rate, part.shape[-1])
        total = (growth * part * -torch.expm1(-rate)[..., None]).cumsum(-1)
        highest = torch.cummax(growth * part - total, dim=-1).values
        followed = (total + torch.maximum(highest, state[..., None])) / growth
        state = followed[..., -1]
        parts.append(followed)
    return (torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]), state


def smooth(
    level: Float[Tensor, "batch band time"],
    rate: Float[Tensor, "batch band"],
    state: Float[Tensor, "batch band"],
) -> tuple[Float[Tensor, "batch band time"], Float[Tensor, "batch band"]]:
    """Approach ``level`` exponentially: y = a y + (1 - a) u; else as :func:`follow_peaks`."""
    parts = []
    for part in level.double().split(STRETCH, dim=-1):
        growth = _growth(rate, part.shape[-1])
        total = (growth * part * -torch.expm1(-rate)[..., None]).cumsum(-1)
        smoothed = (total + state[..., None]) / growth
        state = smoothed[..., -1]
        parts.append(smoothed)
    return (torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]), state


def _growth(rate: Tensor, length: int) -> Tensor:
    """Return exp(rate * t) for t from 1."""
    steps = torch.arange(1, length + 1, dtype=torch.float64, device=rate.device)
    return (rate[..., None] * steps).exp()
