"""Stems through an overdriven stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.augment.layout import (
    AugmentationConfig,
    Share,
    StemLayout,
    draw_chance,
    draw_uniform,
)


class SaturateConfig(AugmentationConfig):
    """Probability for each stem; by how much its peaks are beyond the straight part."""

    kind: Literal["saturate"] = "saturate"
    share: Share = 0.1
    drive_db: tuple[float, float] = (-6.0, 9.0)


@dataclass(frozen=True)
class Saturate:
    """Drive of each stem's peak; 0 leaves it as it is."""

    drive: Float[Tensor, "batch source"]


def draw_saturate(
    config: SaturateConfig, layout: StemLayout, generator: torch.Generator
) -> Saturate:
    """Draw drives."""
    drive = 10.0 ** (draw_uniform(config.drive_db, layout.shape, generator) / 20.0)
    return Saturate(drive * draw_chance(config.share, layout.shape, generator))


def apply_saturate(
    stems: Float[Tensor, "batch source channel time"], drawn: Saturate
) -> Float[Tensor, "batch source channel time"]:
    """Bend with a hyperbolic tangent; the peak keeps its level, what is below rises.

    There is no oversampling: what folds back is below the harmonics at these drives.
    """
    used = drawn.drive > 0.0
    if not used.any():
        return stems
    chosen = stems[used]
    peak = chosen.abs().amax(dim=(-1, -2), keepdim=True).clamp(min=1e-9)
    drive = drawn.drive[used][:, None, None]
    out = stems.clone()
    out[used] = torch.tanh(chosen * (drive / peak)) * (peak / torch.tanh(drive))
    return out
