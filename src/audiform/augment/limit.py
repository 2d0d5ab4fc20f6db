"""A limiter on the mixture: one gain for all stems, so that they still sum to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audiform.augment.layout import (
    AugmentationConfig,
    Share,
    StemLayout,
    draw_chance,
    draw_uniform,
)

#: Samples that share a gain before it is smoothed: 1.5 ms at 44.1 kHz.
BLOCK_SAMPLES = 64

#: Blocks by which the gain goes down early and stays down: 12 ms.
REACH_BLOCKS = 8


class LimitConfig(AugmentationConfig):
    """Probability for each example; how far its peaks are held down."""

    kind: Literal["limit"] = "limit"
    share: Share = 0.2
    depth_db: tuple[float, float] = (1.0, 6.0)


@dataclass(frozen=True)
class Limit:
    """Ceiling of each example as a share of its peak; 1 leaves it as it is."""

    ceiling: Float[Tensor, " batch"]


def draw_limit(config: LimitConfig, layout: StemLayout, generator: torch.Generator) -> Limit:
    """Draw ceilings."""
    shape = (layout.batch_size,)
    ceiling = 10.0 ** (-draw_uniform(config.depth_db, shape, generator) / 20.0)
    return Limit(torch.where(draw_chance(config.share, shape, generator), ceiling, 1.0))


def apply_limit(
    stems: Float[Tensor, "batch source channel time"], drawn: Limit
) -> Float[Tensor, "batch source channel time"]:
    """Turn the stems down where their sum would pass the ceiling; it never does."""
    used = drawn.ceiling < 1.0
    if not used.any():
        return stems
    chosen = stems[used]
    loudness = chosen.sum(dim=1).abs().amax(dim=1)
    ceiling = drawn.ceiling[used][:, None] * loudness.amax(dim=-1, keepdim=True)
    out = stems.clone()
    out[used] = chosen * _gain(loudness, ceiling)[:, None, None]
    return out


def _gain(
    loudness: Float[Tensor, "batch time"], ceiling: Float[Tensor, "batch 1"]
) -> Float[Tensor, "batch time"]:
    """Return the gain of each sample: the least of the blocks around, smoothed."""
    length = loudness.shape[-1]
    missing = -length % BLOCK_SAMPLES
    blocks = F.pad(loudness, (0, missing)).unflatten(-1, (-1, BLOCK_SAMPLES)).amax(dim=-1)
    wanted = (ceiling / blocks.clamp(min=1e-9)).clamp(max=1.0)
    reach = REACH_BLOCKS
    least = -F.max_pool1d(-wanted[:, None], 2 * reach + 1, 1, reach)
    weights = torch.hann_window(2 * reach + 1, periodic=False)[1:-1].to(least)
    ends = F.pad(least, (reach - 1, reach - 1), mode="replicate")
    smooth = F.conv1d(ends, (weights / weights.sum())[None, None])
    gain = F.interpolate(smooth, scale_factor=BLOCK_SAMPLES, mode="linear", align_corners=False)
    return gain[:, 0, :length]
