"""A gain that goes up and down as a sine."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.knob import Knob

KNOBS = (
    Knob(name="rate_hz", unit="Hz", minimum=0.5, maximum=12.0, default=5.0, scale="log"),
    Knob(name="depth", minimum=0.0, maximum=1.0, default=0.7),
)


def tremolo(
    audio: Float[Tensor, "*leading time"],
    state: float | None,
    *,
    sample_rate: int,
    rate_hz: float,
    depth: float,
) -> tuple[Float[Tensor, "*leading time"], float]:
    """Return ``x (1 - depth (1 - cos phase) / 2)``; the state is the phase in turns, in [0, 1).

    The phase begins at 0, where the gain is 1.
    """
    turn = state or 0.0
    length = audio.shape[-1]
    steps = torch.arange(length, dtype=torch.float64, device=audio.device)
    phase = 2 * math.pi * (turn + steps * (rate_hz / sample_rate))
    gain = 1.0 - depth * (1.0 - phase.cos()) / 2.0
    return audio * gain.to(audio.dtype), (turn + length * rate_hz / sample_rate) % 1.0
