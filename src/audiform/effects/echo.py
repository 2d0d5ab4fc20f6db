"""Two echoes, each quieter than what came before by one ratio."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audiform.knob import Knob

NUM_ECHOES = 2

#: Room for rounding the longest delay up, and for the sample before it.
EXTRA_SAMPLES = 2

_DELAY = Knob(name="delay_ms", unit="ms", minimum=5.0, maximum=500.0, default=250.0, scale="log")

KNOBS = (
    _DELAY,
    Knob(name="ratio", minimum=0.0, maximum=1.0, default=0.5),
)


def echo(
    audio: Float[Tensor, "*leading time"],
    state: Float[Tensor, "*leading past"] | None,
    *,
    sample_rate: int,
    delay_ms: float,
    ratio: float,
) -> tuple[Float[Tensor, "*leading time"], Float[Tensor, "*leading past"]]:
    """Return ``x[n] + ratio x[n - d] + ratio^2 x[n - 2 d]``; the state is the past of x.

    A delay between two samples is a linear mix of both.
    """
    longest = NUM_ECHOES * _DELAY.maximum * sample_rate / 1000.0
    kept = int(longest) + EXTRA_SAMPLES
    if state is None:
        state = audio.new_zeros(*audio.shape[:-1], kept)
    heard = torch.cat([state, audio], dim=-1)
    wet = audio.clone()
    for number in range(1, NUM_ECHOES + 1):
        wet += ratio**number * _delayed(heard, number * delay_ms * sample_rate / 1000.0, kept)
    return wet, heard[..., -kept:].clone()


def _delayed(heard: Tensor, delay_samples: float, past: int) -> Tensor:
    """Return ``heard`` from sample ``past`` on, ``delay_samples`` late."""
    whole = int(delay_samples)
    share = delay_samples - whole
    newer = F.pad(heard, (whole, -whole))[..., past:]
    older = F.pad(heard, (whole + 1, -whole - 1))[..., past:]
    return (1.0 - share) * newer + share * older
