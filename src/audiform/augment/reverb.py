"""Stems in rooms: convolution with impulse responses that the caller has read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiform.augment.layout import (
    AugmentationConfig,
    Share,
    StemLayout,
    draw_chance,
    draw_uniform,
)
from audiform.dsp.convolve import convolve
from audiform.errors import ConfigError


class ReverbConfig(AugmentationConfig):
    """Probability for each stem; level of the room against the stem, for noise."""

    kind: Literal["reverb"] = "reverb"
    share: Share = 0.1
    wet_db: tuple[float, float] = (-18.0, -6.0)


@dataclass(frozen=True)
class Reverb:
    """Room of each stem (-1: none), its factor, and the rooms."""

    room: Int[Tensor, "batch source"]
    wet: Float[Tensor, "batch source"]
    responses: Float[Tensor, "response _ taps"]


def draw_reverb(config: ReverbConfig, layout: StemLayout, generator: torch.Generator) -> Reverb:
    """Draw rooms; raises :class:`ConfigError` where there are none to draw from."""
    if layout.responses is None or len(layout.responses) == 0:
        raise ConfigError(
            "reverb was asked for without rooms; hand impulse responses to the chain, or leave "
            "the step out"
        )
    room = torch.randint(len(layout.responses), layout.shape, generator=generator)
    used = draw_chance(config.share, layout.shape, generator)
    wet = 10.0 ** (draw_uniform(config.wet_db, layout.shape, generator) / 20.0)
    return Reverb(torch.where(used, room, -1), wet, layout.responses)


def apply_reverb(
    stems: Float[Tensor, "batch source channel time"], drawn: Reverb
) -> Float[Tensor, "batch source channel time"]:
    """Add the room to the stem; what rings on beyond the end is cut off."""
    used = drawn.room >= 0
    if not used.any():
        return stems
    rooms = drawn.responses[drawn.room[used]].to(stems)
    energy = rooms.square().sum(dim=-1).mean(dim=-1).clamp(min=1e-20)
    rooms = rooms * (drawn.wet[used] / energy.sqrt())[:, None, None]
    out = stems.clone()
    out[used] += convolve(stems[used], rooms)
    return out
