"""Another level for each stem: a factor spread evenly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat
from torch import Tensor

from audiform.augment.layout import AugmentationConfig, StemLayout, draw_uniform


class GainConfig(AugmentationConfig):
    """Limits of the factor."""

    kind: Literal["gain"] = "gain"
    low: NonNegativeFloat = 0.25
    high: NonNegativeFloat = 1.25


@dataclass(frozen=True)
class Gain:
    """Factor for each stem."""

    factor: Float[Tensor, "batch source"]


def draw_gain(config: GainConfig, layout: StemLayout, generator: torch.Generator) -> Gain:
    """Draw factors."""
    return Gain(draw_uniform((config.low, config.high), layout.shape, generator))


def apply_gain(
    stems: Float[Tensor, "batch source channel time"], drawn: Gain
) -> Float[Tensor, "batch source channel time"]:
    """Multiply."""
    return stems * drawn.factor.to(stems)[..., None, None]
