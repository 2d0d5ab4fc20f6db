"""Where frames are, as scores of attention: weighted distances, relative positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

#: Bound of the initial weights of distances: at 256 frames, 8 of score between the ends.
DISTANCE_BOUND = 1 / 32


class DistanceWeights(nn.Module):
    """Distance encoding: head h adds ``weight[h] * |query - key|`` to its scores.

    Weights have a sign: a head may look near or far. They know no length, so that a network
    can be run on more frames than it was trained on.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_heads).uniform_(-DISTANCE_BOUND, DISTANCE_BOUND))

    def forward(self, num_frames: int) -> Float[Tensor, "head offset"]:
        """Return what is added by offset, from -(``num_frames`` - 1) to ``num_frames`` - 1."""
        offsets = torch.arange(
            1 - num_frames, num_frames, device=self.weight.device, dtype=torch.float32
        )
        return (self.weight.float()[:, None] * offsets.abs()).to(self.weight.dtype)


class RelativePositions(nn.Module):
    """Scores of offsets: query i finds ``queries[i] . table[j - i]`` at key j.

    C.-Z. A. Huang et al., "Music Transformer", arXiv:1809.04281, section 3.4, for both
    directions: 2 ``reach`` + 1 offsets where the paper, which looks back only, has ``reach``.
    Offsets beyond ``reach`` share the entry at its end. One table for all heads.
    """

    def __init__(self, head_width: int, *, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.table = nn.Parameter(torch.randn(2 * reach + 1, head_width))

    def forward(
        self, queries: Float[Tensor, "batch head frame size"], *, scale: float
    ) -> Float[Tensor, "batch head frame offset"]:
        """Return the scores times ``scale`` by offset, from -(frames - 1) to frames - 1."""
        last = queries.shape[2] - 1
        if last <= self.reach:
            rows = self.table[self.reach - last : self.reach + last + 1]
        else:
            offsets = torch.arange(-last, last + 1, device=self.table.device)
            rows = self.table[offsets.clamp(-self.reach, self.reach) + self.reach]
        return F.linear(queries, rows * scale)


def by_key(
    scores: Float[Tensor, "batch head frame offset"],
) -> Float[Tensor, "batch head frame key"]:
    """Turn scores by offset, -(frames - 1) to frames - 1, into scores by key; a view, no copy.

    Row i shall begin at offset -i, one column further to the left than the row before: read
    as rows that are one entry shorter, it does. The skew of Music Transformer, figure 7, for
    both directions.
    """
    frames = scores.shape[2]
    if frames == 1:
        return scores
    flat = scores.flatten(2)[..., frames - 1 :]
    rows = flat[..., : frames * (2 * frames - 2)].unflatten(2, (frames, 2 * frames - 2))
    return rows[..., :frames]


def by_key_last_query_first(
    scores: Float[Tensor, "head offset"],
) -> Float[Tensor, "head frame key"]:
    """Turn scores by offset that all queries share into scores by key; a view, no copy.

    Rows are those of the last query, the one before it, and so on: the row of query i begins
    at offset -i, so in this order each row is the one above moved by one.
    """
    return scores.unfold(1, (scores.shape[1] + 1) // 2, 1)
