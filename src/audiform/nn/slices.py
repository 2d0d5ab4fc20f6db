"""A sound cut into slices that are moved in time: what goes where, and what fills the gaps.

A slice begins at a hit and lasts until the next one. Moved apart, the earlier slice goes on
beyond its end; moved together, it is cut where the later one begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.continue_sound import continue_sound

#: A slice goes on from at most so many of its last samples.
REMEMBERED_SAMPLES = 4096


@dataclass(frozen=True)
class Slice:
    """A slice: ``start`` to ``stop`` where it sounds, ``end`` of its own sound, all after the move.

    ``begin`` is where its own sound begins, ``shift`` by how much it was moved, whole samples;
    ``exact`` is the shift that gradients are of.
    """

    start: int
    stop: int
    begin: int
    end: int
    shift: int
    exact: Tensor


def merged(slices: Sequence[Slice]) -> list[Slice]:
    """Join neighbours that were moved alike: nothing happens between them."""
    joined: list[Slice] = []
    for part in slices:
        last = joined[-1] if joined else None
        alike = last is not None and last.shift == part.shift and last.stop == part.start
        if last is not None and alike and last.end >= part.start:
            joined[-1] = Slice(last.start, part.stop, part.begin, part.end, part.shift, part.exact)
        else:
            joined.append(part)
    return joined


def render(
    audio: Float[Tensor, "channels time"], slices: Sequence[Slice], *, fade_samples: int
) -> Float[Tensor, "channels time"]:
    """Return the slices where they belong, faded into each other; as long as ``audio``."""
    slices = merged(slices)
    if len(slices) == 1 and slices[0].shift == 0:
        return audio
    result = torch.zeros_like(audio)
    length = audio.shape[-1]
    ramp = (torch.arange(fade_samples, device=audio.device, dtype=audio.dtype) + 1) / (
        fade_samples + 1
    )
    for number, part in enumerate(slices):
        first, last = number == 0, number == len(slices) - 1
        start = max(0, part.start)
        stop = min(length, part.stop if last else part.stop + fade_samples)
        if stop <= start:
            continue
        sound = _sound(audio, part, start, stop)
        gain = torch.ones(stop - start, device=audio.device, dtype=audio.dtype)
        if not first:
            rise = ramp[max(0, start - part.start) :][: stop - start]
            gain[: len(rise)] *= rise
        if not last:
            place = max(start, part.stop)
            gain[place - start :] *= (1 - ramp)[place - part.stop : stop - part.stop]
        result[:, start:stop] += gain * sound
    return result


def _sound(
    audio: Float[Tensor, "channels time"], part: Slice, start: int, stop: int
) -> Float[Tensor, "channels new_time"]:
    """Return a slice from ``start`` to ``stop``: its own sound, and what goes on from it."""
    own_stop = min(stop, max(start, part.end))
    places = torch.arange(start, own_stop, device=audio.device) - part.shift
    length = audio.shape[-1]
    own = audio[:, places.clamp(0, length - 1)]
    if part.exact.requires_grad:  # whole samples are moved; the gradient is that of moving by less
        slope = (audio[:, (places + 1).clamp(0, length - 1)] - own).detach()
        own = own - (part.exact - part.exact.detach()) * slope
    if own_stop == stop:
        return own
    end = part.end - part.shift
    past = audio[:, max(0, part.begin - part.shift, end - REMEMBERED_SAMPLES) : max(0, end)]
    skipped = own_stop - part.end
    more = continue_sound(past, stop - part.end)[:, skipped:]
    return torch.cat([own, more], dim=-1)
