"""A room of eight delay lines that feed each other.

J.-M. Jot and A. Chaigne, "Digital delay networks for designing artificial reverberators", AES
convention 90 (1991). Every line loses so much that all of them decay by 60 dB in one time at the
lowest frequency and in a shorter one at the highest. Differs from it in that the loss is a filter
with one zero, which meets both times as their filter with one pole does and needs no recursion.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.knob import Knob

#: Between them the lengths have no common period that could be heard.
LINES_MS = (25.3, 29.1, 33.7, 36.9, 41.3, 47.9, 53.3, 59.7)

_PRE_DELAY = Knob(name="pre_delay_ms", unit="ms", minimum=0.0, maximum=100.0, default=10.0)

KNOBS = (
    Knob(name="decay_seconds", unit="s", minimum=0.2, maximum=5.0, default=1.5, scale="log"),
    Knob(name="damping", minimum=0.0, maximum=0.9, default=0.5),
    _PRE_DELAY,
    Knob(name="mix", minimum=0.0, maximum=1.0, default=0.3),
)


class ReverbState(NamedTuple):
    """What went into the room, and into each of its lines, of late."""

    heard: Float[Tensor, "*leading past"]
    lines: Float[Tensor, "*leading line past_of_lines"]


class _Room(NamedTuple):
    delays: tuple[int, ...]
    newest: Float[Tensor, " line"]
    second: Float[Tensor, " line"]
    mixing: Float[Tensor, "line line"]
    signs: Float[Tensor, " line"]
    level: float


def reverb(
    audio: Float[Tensor, "*leading time"],
    state: ReverbState | None,
    *,
    sample_rate: int,
    decay_seconds: float,
    damping: float,
    pre_delay_ms: float,
    mix: float,
) -> tuple[Float[Tensor, "*leading time"], ReverbState]:
    """Return ``(1 - mix) x + mix room(x)``.

    The room decays by 60 dB in ``decay_seconds`` at 0 Hz and in ``1 - damping`` times that at
    half the sample rate.
    """
    room = _room(sample_rate, decay_seconds, damping, audio)
    kept = math.ceil(_PRE_DELAY.maximum * sample_rate / 1000.0)
    if state is None:
        lead = audio.shape[:-1]
        state = ReverbState(
            audio.new_zeros(*lead, kept),
            audio.new_zeros(*lead, len(room.delays), max(room.delays) + 1),
        )
    heard = torch.cat([state.heard, audio], dim=-1)
    late = round(pre_delay_ms * sample_rate / 1000.0)
    entering = heard[..., kept - late : kept - late + audio.shape[-1]]
    reflected, lines = _reflected(entering, state.lines, room)
    wet = (1.0 - mix) * audio + mix * reflected
    return wet, ReverbState(heard[..., heard.shape[-1] - kept :].clone(), lines)


def _room(sample_rate: int, decay_seconds: float, damping: float, like: Tensor) -> _Room:
    delays = tuple(max(1, round(ms * sample_rate / 1000.0)) for ms in LINES_MS)
    seconds = torch.tensor(delays, dtype=torch.float64) / sample_rate
    low = 10.0 ** (-3.0 * seconds / decay_seconds)
    high = 10.0 ** (-3.0 * seconds / (decay_seconds * (1.0 - damping)))
    signs = torch.tensor([1.0, -1.0] * (len(delays) // 2))
    level = math.sqrt((1.0 - low.square().mean().item()) / len(delays))
    return _Room(
        delays=delays,
        newest=((low + high) / 2).to(like),
        second=((low - high) / 2).to(like),
        mixing=_hadamard(len(delays)).to(like),
        signs=signs.to(like),
        level=level,
    )


def _hadamard(size: int) -> Float[Tensor, "size size"]:
    """Return the orthogonal matrix of signs; ``size`` is a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat(
            [torch.cat([matrix, matrix], dim=1), torch.cat([matrix, -matrix], dim=1)]
        )
    return matrix / math.sqrt(size)


def _reflected(audio: Tensor, lines: Tensor, room: _Room) -> tuple[Tensor, Tensor]:
    """Return what comes out of ``room`` and its lines after that.

    No line gives back what goes in before its own length has passed: so many samples can be
    made at once.
    """
    wet = []
    for block in audio.split(min(room.delays), dim=-1):
        size = block.shape[-1]
        length = lines.shape[-1]
        leaving = torch.stack(
            [
                lines[..., index, length - delay - 1 : length - delay + size]
                for index, delay in enumerate(room.delays)
            ],
            dim=-2,
        )
        damped = room.newest[:, None] * leaving[..., 1:] + room.second[:, None] * leaving[..., :-1]
        wet.append(room.level * (room.signs @ damped))
        entering = block[..., None, :] + room.mixing @ damped
        lines = torch.cat([lines, entering], dim=-1)[..., size:]
    return (torch.cat(wet, dim=-1) if wet else audio), lines.clone()
