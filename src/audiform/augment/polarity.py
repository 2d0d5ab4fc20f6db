"""Turned polarity of a stem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from audiform.augment.layout import AugmentationConfig, Share, StemLayout, draw_chance


class PolarityConfig(AugmentationConfig):
    """Probability for each stem."""

    kind: Literal["polarity"] = "polarity"
    share: Share = 0.5


@dataclass(frozen=True)
class Polarity:
    """Which stems are turned."""

    turned: Bool[Tensor, "batch source"]


def draw_polarity(
    config: PolarityConfig, layout: StemLayout, generator: torch.Generator
) -> Polarity:
    """Draw which."""
    return Polarity(draw_chance(config.share, layout.shape, generator))


def apply_polarity(
    stems: Float[Tensor, "batch source channel time"], drawn: Polarity
) -> Float[Tensor, "batch source channel time"]:
    """Multiply by minus one."""
    return stems * (1.0 - 2.0 * drawn.turned.to(stems))[..., None, None]
