"""Sources exchanged between the songs of a group: drums of one, voice of another.

S. Uhlich et al., "Improving music source separation based on deep neural networks through
data augmentation and network blending" (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import PositiveInt
from torch import Tensor

from audiform.augment.layout import AugmentationConfig, Share, StemLayout, draw_chance
from audiform.errors import ConfigError


class RemixConfig(AugmentationConfig):
    """Examples that exchange sources with each other, and the probability that a group does."""

    kind: Literal["remix"] = "remix"
    group_size: PositiveInt = 4
    share: Share = 1.0


@dataclass(frozen=True)
class Remix:
    """The example from which each source is taken."""

    example: Int[Tensor, "batch source"]


def draw_remix(config: RemixConfig, layout: StemLayout, generator: torch.Generator) -> Remix:
    """Draw a permutation for each source; raises :class:`ConfigError` for an incomplete group."""
    batch_size, num_sources = layout.shape
    size = config.group_size
    if batch_size % size:
        raise ConfigError(
            f"remix in groups of {size} was asked for a batch of {batch_size}; choose a batch "
            "size that the group size divides"
        )
    groups = batch_size // size
    permuted = torch.rand((groups, size, num_sources), generator=generator).argsort(dim=1)
    same = torch.arange(size)[None, :, None]
    chosen = torch.where(draw_chance(config.share, (groups, 1, 1), generator), permuted, same)
    first = torch.arange(groups)[:, None, None] * size
    return Remix((first + chosen).flatten(0, 1))


def apply_remix(
    stems: Float[Tensor, "batch source channel time"], drawn: Remix
) -> Float[Tensor, "batch source channel time"]:
    """Take each source from its example."""
    return stems[drawn.example, torch.arange(stems.shape[1])]
