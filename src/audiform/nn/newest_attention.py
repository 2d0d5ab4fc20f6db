"""Attention of the newest frames to all that came before, each frame a token.

Queries are the frames that are answered, keys and values all frames: the cost is their product
and not the square of the look-back. Positions are ages, counted back from the newest frame, so
that a network can be given a longer look-back than it was trained with. Frames beyond the near
ones are taken in groups, as their mean: attention over windows with gaps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

#: Periods of the age code run geometrically from 2 pi to 2 pi times this, in frames.
LONGEST_PERIOD = 10_000.0

#: Where heads that fade start: scores fall by 1 with each token, and with each 30.
FIRST_LOG_RATES = (0.0, -3.4)

#: So far away that whatever the rate nothing is left. Infinity would have no derivative.
UNSEEN = 1e9

#: Width of the layer between, in widths of a token.
FEED_FORWARD_RATIO = 2


def age_code(ages: Float[Tensor, " frame"], width: int) -> Float[Tensor, "frame width"]:
    """Return sines and cosines of ``ages``, which may be fractions; ``width`` must be even.

    As A. Vaswani et al., "Attention is all you need", arXiv:1706.03762, section 3.5, code
    positions; here they are distances from the newest frame.
    """
    share = torch.arange(width // 2, device=ages.device) / max(1, width // 2 - 1)
    phase = ages[:, None] / LONGEST_PERIOD**share
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


def near_and_far(
    tokens: Float[Tensor, "batch frame width"], *, near_frames: int, group: int
) -> tuple[Float[Tensor, "batch key width"], Float[Tensor, " key"]]:
    """Return the newest ``near_frames`` tokens, means of ``group`` older ones, and their ages.

    Newest first. The oldest group may be smaller.
    """
    newest_first = tokens.flip(1)
    ages = torch.arange(tokens.shape[1], device=tokens.device, dtype=tokens.dtype)
    if tokens.shape[1] <= near_frames:
        return newest_first, ages
    far = newest_first[:, near_frames:].transpose(1, 2)
    grouped = F.avg_pool1d(far, group, ceil_mode=True).transpose(1, 2)
    far_ages = F.avg_pool1d(ages[None, None, near_frames:], group, ceil_mode=True)[0, 0]
    keys = torch.cat([newest_first[:, :near_frames], grouped], dim=1)
    return keys, torch.cat([ages[:near_frames], far_ages])


class NewestAttention(nn.Module):
    """Multi-head attention of some frames to others; residual, normalised before.

    With ``num_settings`` the knobs scale and shift the queries and scale the keys: what is
    looked for, and what is found, depends on them. (A shift of the keys would add the same to
    all scores of a query, as would a bias.)

    With ``fading`` scores fall with the distance between query and key, in each head at a rate
    of its own that the knobs set: a forgetting as slow as a release. The rates start as
    O. Press, N. Smith and M. Lewis, "Train short, test long", arXiv:2108.12409, have them fixed.
    """

    def __init__(
        self, width: int, *, num_heads: int, num_settings: int = 0, fading: bool = False
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_norm = nn.LayerNorm(width)
        self.key_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.from_knobs = nn.Linear(num_settings, 3 * width) if num_settings else None
        self.log_rate: nn.Parameter | None = None
        self.rate_from_knobs: nn.Linear | None = None
        if fading:
            self.log_rate = nn.Parameter(torch.linspace(*FIRST_LOG_RATES, num_heads))
            if num_settings:
                self.rate_from_knobs = nn.Linear(num_settings, num_heads, bias=False)

    def forward(
        self,
        queries: Float[Tensor, "batch query width"],
        memory: Float[Tensor, "batch key width"],
        settings: Float[Tensor, "batch setting"] | None = None,
        distances: Float[Tensor, "query key"] | None = None,
    ) -> Float[Tensor, "batch query width"]:
        """Return ``queries`` plus what each takes from ``memory``.

        ``distances``, with ``fading``: from each query back to each key; :data:`UNSEEN` where it
        is not to be seen.
        """
        query, key, value = self._projected(queries, memory, settings)
        mask = None if distances is None else self._fading(distances, settings)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return queries + self.output(
            rearrange(found, "batch head query size -> batch query (head size)")
        )

    def weights(
        self,
        queries: Float[Tensor, "batch query width"],
        memory: Float[Tensor, "batch key width"],
        settings: Float[Tensor, "batch setting"] | None = None,
        distances: Float[Tensor, "query key"] | None = None,
    ) -> Float[Tensor, "batch head query key"]:
        """Return how much of each key each query takes, 1 in all: to be looked at."""
        query, key, _ = self._projected(queries, memory, settings)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if distances is not None:
            scores = scores + self._fading(distances, settings)
        return scores.softmax(dim=-1)

    def _projected(
        self, queries: Tensor, memory: Tensor, settings: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, by heads."""
        query = self.query(self.query_norm(queries))
        key, value = self.key_value(self.key_norm(memory)).chunk(2, dim=-1)
        if self.from_knobs is not None:
            gain, shift, key_gain = self.from_knobs(settings)[:, None].chunk(3, dim=-1)
            query = query * (1 + gain) + shift
            key = key * (1 + key_gain)
        return self._heads(query), self._heads(key), self._heads(value)

    def _fading(
        self, distances: Tensor, settings: Tensor | None
    ) -> Float[Tensor, "batch head query key"]:
        assert self.log_rate is not None
        log_rate = self.log_rate[None]
        if self.rate_from_knobs is not None:
            log_rate = log_rate + self.rate_from_knobs(settings)
        return -log_rate.exp()[:, :, None, None] * distances

    def _heads(self, frames: Tensor) -> Tensor:
        return rearrange(
            frames, "batch frame (head size) -> batch head frame size", head=self.num_heads
        )


class NewestBlock(nn.Module):
    """Attention of the newest frames, and two layers on each of them."""

    def __init__(
        self, width: int, *, num_heads: int, num_settings: int, fading: bool = False
    ) -> None:
        super().__init__()
        self.attention = NewestAttention(
            width, num_heads=num_heads, num_settings=num_settings, fading=fading
        )
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, FEED_FORWARD_RATIO * width),
            nn.GELU(),
            nn.Linear(FEED_FORWARD_RATIO * width, width),
        )

    def forward(
        self,
        queries: Float[Tensor, "batch query width"],
        memory: Float[Tensor, "batch key width"],
        settings: Float[Tensor, "batch setting"],
        distances: Float[Tensor, "query key"] | None = None,
    ) -> Float[Tensor, "batch query width"]:
        """Return the queries with what they took from ``memory``."""
        queries = self.attention(queries, memory, settings, distances)
        return queries + self.feed_forward(queries)
