"""Sources that a song does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from audiform.augment.layout import AugmentationConfig, Share, StemLayout, draw_chance


class AbsentConfig(AugmentationConfig):
    """Probability for each stem."""

    kind: Literal["absent"] = "absent"
    share: Share = 0.1


@dataclass(frozen=True)
class Absent:
    """Which stems are silent."""

    silent: Bool[Tensor, "batch source"]


def draw_absent(config: AbsentConfig, layout: StemLayout, generator: torch.Generator) -> Absent:
    """Draw which; where all of an example would be, none is."""
    silent = draw_chance(config.share, layout.shape, generator)
    return Absent(silent & ~silent.all(dim=1, keepdim=True))


def apply_absent(
    stems: Float[Tensor, "batch source channel time"], drawn: Absent
) -> Float[Tensor, "batch source channel time"]:
    """Silence them."""
    return stems.masked_fill(drawn.silent[..., None, None], 0.0)
