"""Left and right exchanged in a stem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from audiform.augment.layout import AugmentationConfig, Share, StemLayout, draw_chance


class ChannelSwapConfig(AugmentationConfig):
    """Probability for each stem."""

    kind: Literal["channel-swap"] = "channel-swap"
    share: Share = 0.5


@dataclass(frozen=True)
class ChannelSwap:
    """Which stems are swapped."""

    swapped: Bool[Tensor, "batch source"]


def draw_channel_swap(
    config: ChannelSwapConfig, layout: StemLayout, generator: torch.Generator
) -> ChannelSwap:
    """Draw which."""
    return ChannelSwap(draw_chance(config.share, layout.shape, generator))


def apply_channel_swap(
    stems: Float[Tensor, "batch source channel time"], drawn: ChannelSwap
) -> Float[Tensor, "batch source channel time"]:
    """Turn the order of the channels round; a mono stem stays as it is."""
    return torch.where(drawn.swapped[..., None, None], stems.flip(-2), stems)
