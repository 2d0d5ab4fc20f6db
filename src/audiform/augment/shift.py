"""Shift in time: a crop from a longer segment, at a place of its own for each stem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat
from torch import Tensor

from audiform.augment.layout import AugmentationConfig, StemLayout
from audiform.errors import ConfigError


class ShiftConfig(AugmentationConfig):
    """Up to ``seconds`` later; ``together`` shifts the stems of an example alike."""

    kind: Literal["shift"] = "shift"
    seconds: NonNegativeFloat = 1.0
    together: bool = False


@dataclass(frozen=True)
class Shift:
    """First sample of each stem's crop, and the length of all."""

    offset: Int[Tensor, "batch source"]
    samples: int


def shift_input_samples(config: ShiftConfig, samples: int, sample_rate: int) -> int:
    """Return how many samples give ``samples`` after the shift."""
    return samples + round(config.seconds * sample_rate)


def draw_shift(config: ShiftConfig, layout: StemLayout, generator: torch.Generator) -> Shift:
    """Draw offsets; raises :class:`ConfigError` where the stems are no longer than the shift."""
    most = round(config.seconds * layout.sample_rate)
    if layout.samples <= most:
        raise ConfigError(
            f"a shift of up to {config.seconds} s was asked for stems of "
            f"{layout.samples / layout.sample_rate:g} s; lower it, or read longer segments"
        )
    offset = torch.randint(most + 1, layout.shape, generator=generator)
    if config.together:
        offset = offset[:, :1].expand(layout.shape)
    return Shift(offset, layout.samples - most)


def apply_shift(
    stems: Float[Tensor, "batch source channel time"], drawn: Shift
) -> Float[Tensor, "batch source channel new_time"]:
    """Cut the crops out."""
    out = stems.new_empty(*stems.shape[:-1], drawn.samples)
    for example, offsets in enumerate(drawn.offset.tolist()):
        for source, first in enumerate(offsets):
            out[example, source] = stems[example, source, :, first : first + drawn.samples]
    return out
