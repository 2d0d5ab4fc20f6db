"""Attention across the frames of a spectrogram, each frame a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.frame_position import (
    DistanceWeights,
    RelativePositions,
    by_key,
    by_key_last_query_first,
)
from audiform.nn.time_convolution import TimeConvolution


@dataclass(frozen=True)
class FrameAttentionShape:
    """What the attentions of a network have in common, whatever their width.

    ``distance``: scores get a weight per head times the distance of query and key.
    ``reach``: relative positions up to so many frames, None for none. ``kernel_frames``:
    queries, keys and values are convolved along time, each feature by itself (Primer-EZ,
    arXiv:2109.08668, section 4), None for no convolution. ``scale_by``: scores are divided by
    the root of a head's width, or of the width of the whole frame.
    """

    num_heads: int
    distance: bool = False
    reach: int | None = None
    kernel_frames: int | None = None
    scale_by: Literal["head", "frame"] = "head"


class FrameAttention(nn.Module):
    """Multi-head attention of frames to each other, or to those of a memory, in both directions.

    Keys have no bias, which the softmax would take out again, and values none, which the
    output's would take in: neither would change what can be learned.
    """

    def __init__(self, width: int, shape: FrameAttentionShape) -> None:
        super().__init__()
        head_width = width // shape.num_heads
        self.num_heads = shape.num_heads
        self.scale = (head_width if shape.scale_by == "head" else width) ** -0.5
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.query_convolution = _depthwise(width, shape.kernel_frames)
        self.key_value_convolution = _depthwise(2 * width, shape.kernel_frames)
        self.distance = DistanceWeights(shape.num_heads) if shape.distance else None
        self.positions = (
            None if shape.reach is None else RelativePositions(head_width, reach=shape.reach)
        )

    def forward(
        self,
        frames: Float[Tensor, "batch frame width"],
        memory: Float[Tensor, "batch frame width"] | None = None,
    ) -> Float[Tensor, "batch frame width"]:
        """Let each frame look at all of ``memory``, or of ``frames`` themselves."""
        seen = frames if memory is None else memory
        queries = self._heads(self.query_convolution(self.query(frames)))
        both = self.key_value_convolution(self.key_value(seen))
        keys, values = (self._heads(part) for part in both.chunk(2, dim=-1))
        found = self._attend(queries, keys, values)
        return self.output(rearrange(found, "batch head frame size -> batch frame (head size)"))

    def _heads(
        self, frames: Float[Tensor, "batch frame width"]
    ) -> Float[Tensor, "batch head frame size"]:
        return rearrange(
            frames, "batch frame (head size) -> batch head frame size", head=self.num_heads
        )

    def _attend(
        self,
        queries: Float[Tensor, "batch head frame size"],
        keys: Float[Tensor, "batch head frame size"],
        values: Float[Tensor, "batch head frame size"],
    ) -> Float[Tensor, "batch head frame size"]:
        """Attend; what positions add to the scores is a view on what they add by offset."""
        num_frames = queries.shape[2]
        added = None
        if self.distance is not None:
            added = self.distance(num_frames).to(queries.dtype)
        if self.positions is not None:
            by_offset = self.positions(queries, scale=self.scale)
            if added is not None:
                by_offset = by_offset + added[:, None]
            return F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=by_key(by_offset), scale=self.scale
            )
        if added is None:
            return F.scaled_dot_product_attention(queries, keys, values, scale=self.scale)
        mask = by_key_last_query_first(added).expand(len(queries), -1, -1, -1)
        last_first = F.scaled_dot_product_attention(
            queries.flip(2), keys, values, attn_mask=mask, scale=self.scale
        )
        return last_first.flip(2)


def _depthwise(width: int, kernel_frames: int | None) -> nn.Module:
    if kernel_frames is None:
        return nn.Identity()
    return TimeConvolution(width, width, kernel_frames=kernel_frames, depthwise=True, bias=False)
