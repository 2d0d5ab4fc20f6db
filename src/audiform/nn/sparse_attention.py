"""Attention over the pairs of tokens that locality-sensitive hashing finds, or a fixed mask.

"Sparse HT Demucs", S. Rouard, F. Massa, A. Défossez, "Hybrid Transformers for Music Source
Separation", arXiv:2211.08553, section 3. Each of 32 rounds throws a token into one of four
buckets: the arg max of two random projections and their negatives. A query sees the keys that
share its bucket in at least k rounds, with k such that about ``1 - sparsity`` of all pairs
are seen; the softmax is over these alone.

What the paper leaves open is decided here: one k per call (or per item of the batch), the one
whose share of pairs is nearest to what was asked, from an exact count; and a query that no
key matches k times sees the keys that match it most often. Different from the published code
on purpose: the projections come from a seed, so that a network gives the same twice.

Neither scores nor counts of all pairs are ever held, forward or backward: the work goes in
tiles of a few queries by all keys. docs/models/sparse-htdemucs.md has the equations and costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64, Shaped
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from audiform.nn.static_masks import MaskKind, StaticMask

#: Two bits for each round must fit into the 64 of a word.
MAX_ROUNDS = 32

#: The even bits of a word: one for each round.
_EVEN_BITS = 0x5555555555555555

#: What is added to the score of a pair that is not seen, at least. Finite, since 0 times
#: infinity is no number, and a power of two, so that multiples of it are exact.
_UNSEEN = -(2.0**100)

#: Pairs in a tile. On a CPU a tile's three matrices of 4 bytes a pair should stay in its cache.
_TILE_PAIRS = {"cpu": 2**18, "cuda": 2**25}

#: Fewer queries than this make slow matrix products.
_MIN_TILE_QUERIES = 64

#: Tokens that are hashed at once; bounds the memory that hashing takes.
_HASH_TOKENS = 2**14


class SparseAttentionConfig(BaseModel):
    """Which pairs of tokens attention sees, and in which layers.

    ``kind`` "lsh" is the hashing of the paper: ``rounds``, and a threshold on their number
    that is one for each ``threshold_per`` call of a layer (all items of the batch together:
    then an item's result depends on the others') or item. "static" is the union of ``masks``,
    see :class:`audiform.nn.static_masks.StaticMask`. ``sparsity`` is the share of pairs to
    drop: 0.9 in the paper, 0.95 in the published code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lsh", "static"] = "lsh"
    self_attention: bool = True
    cross_attention: bool = True
    sparsity: float = Field(0.95, ge=0, lt=1)
    seed: int = Field(42, ge=0, lt=2**32)
    rounds: int = Field(32, ge=1, le=MAX_ROUNDS)
    threshold_per: Literal["call", "item"] = "call"
    masks: tuple[MaskKind, ...] = Field(("diag",), min_length=1)
    diagonal_window: int = Field(500, ge=0)
    global_window: int = Field(50, ge=0)

    @model_validator(mode="after")
    def _means_something(self) -> SparseAttentionConfig:
        if not (self.self_attention or self.cross_attention):
            raise ValueError(
                "neither self_attention nor cross_attention is to be sparse; "
                "say sparse = None for a dense network"
            )
        idle = (
            ("masks", "diagonal_window", "global_window")
            if self.kind == "lsh"
            else ("rounds", "threshold_per")
        )
        for name in idle:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r} has no effect with kind = {self.kind!r}; "
                    "leave it out, or choose the other kind"
                )
        return self


# Hashing.


@lru_cache(maxsize=64)
def hash_projections(size: int, *, rounds: int, seed: int) -> Float[Tensor, "size rounds 2"]:
    """Draw two projections for each round, normal, the same for a seed on every device."""
    return torch.randn(size, rounds, 2, generator=torch.Generator().manual_seed(seed))


def hash_words(
    vectors: Float[Tensor, "*leading size"], projections: Float[Tensor, "size rounds 2"]
) -> Int64[Tensor, "*leading"]:
    """Return the buckets of each vector in all rounds, two bits a round, the first lowest.

    The bucket is the arg max of (a, b, -a, -b) over the two projections a and b. Hashed in
    float32 at least, whatever the precision around.
    """
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    matrix = projections.flatten(1).to(vectors.device, dtype)
    shifts = 2 * torch.arange(projections.shape[1], device=vectors.device)
    words = []
    with torch.autocast(vectors.device.type, enabled=False):
        for some in vectors.detach().flatten(0, -2).split(_HASH_TOKENS):
            first, second = (some.to(dtype) @ matrix).unflatten(1, (-1, 2)).unbind(-1)
            axis = second.abs() > first.abs()
            negative = torch.where(axis, second, first) < 0
            words.append(((axis.long() + 2 * negative.long()) << shifts).sum(dim=1))
    return torch.cat(words).unflatten(0, vectors.shape[:-1])


def count_matches(
    queries: Int64[Tensor, "*leading queries"],
    keys: Int64[Tensor, "*leading keys"],
    *,
    rounds: int,
) -> Int64[Tensor, "*leading queries keys"]:
    """Return in how many rounds each query and key share a bucket: the plain form.

    Exclusive-or, fold each pair of bits into one, count the ones. It holds several numbers of
    eight bytes a pair, and takes longer than the product of :func:`bucket_signs`.
    """
    differ = queries[..., :, None] ^ keys[..., None, :]
    differ = (differ | (differ >> 1)) & _EVEN_BITS
    differ = (differ & 0x3333333333333333) + ((differ >> 2) & 0x3333333333333333)
    differ = (differ + (differ >> 4)) & 0x0F0F0F0F0F0F0F0F
    return rounds - ((differ * 0x0101010101010101) >> 56)


def bucket_signs(
    words: Int64[Tensor, "*leading tokens"], *, rounds: int, dtype: torch.dtype
) -> Shaped[Tensor, "*leading tokens signs"]:
    """Return three signs for each round, whose products tell how often two tokens match.

    The four buckets are corners of a tetrahedron, (x, y, xy) with x, y = +1 or -1: the
    product of a corner with itself is 3, with any other -1. So the product over all rounds is
    ``4 * matches - rounds``, which is exact in half precision and in bytes too.
    """
    shifts = 2 * torch.arange(rounds, device=words.device)
    bits = ((words[..., None] >> shifts) & 3).to(torch.int8)
    x = (1 - 2 * (bits & 1)).to(dtype)
    y = (1 - (bits & 2)).to(dtype)
    return torch.cat([x, y, x * y], dim=-1)


def matches_to_see(
    histogram: Int64[Tensor, "*leading counts"], *, sparsity: float
) -> Int64[Tensor, "*leading"]:
    """Return the k for which the share of pairs that match at least k times is nearest.

    ``histogram[c]`` is the number of pairs that match c times; nearest to ``1 - sparsity``,
    and the lesser k of two that are equally near.
    """
    at_least = histogram.flip(-1).cumsum(-1).flip(-1)
    share = at_least.double() / at_least[..., :1]
    return (share - (1 - sparsity)).abs().argmin(dim=-1)


def seen_pairs(
    counts: Int64[Tensor, "*leading queries keys"], least: Int64[Tensor, "*leading"] | int
) -> Bool[Tensor, "*leading queries keys"]:
    """Return which pairs are seen: the plain form.

    Those that match at least ``least`` times, and for a query without any, those that match
    it most often.
    """
    least = torch.as_tensor(least, device=counts.device)[..., None, None]
    return counts >= torch.minimum(counts.amax(dim=-1, keepdim=True), least)


# The pairs of a call, tile by tile. Batch and heads are one axis here, "groups".


@dataclass(frozen=True)
class Tile:
    """Some groups and some of their queries, with all keys."""

    groups: slice
    queries: slice


def _tile_sizes(
    num_groups: int, num_queries: int, num_keys: int, *, device: torch.device
) -> tuple[int, int]:
    """Return the number of groups and of queries in a tile."""
    budget = _TILE_PAIRS.get(device.type, _TILE_PAIRS["cuda"])
    queries = min(num_queries, max(_MIN_TILE_QUERIES, budget // num_keys))
    return min(num_groups, max(1, budget // (queries * num_keys))), queries


def _signs_dtype(device: torch.device) -> torch.dtype:
    """Return the type in which products of signs are fastest; they are exact in all."""
    if device.type == "cuda":
        return torch.float16
    return torch.int8 if _has_fast_int8() else torch.float32


@lru_cache(maxsize=1)
def _has_fast_int8() -> bool:
    """Tell whether the CPU multiplies bytes four times as fast as floats, and torch lets it.

    Neither question has a public answer in all versions of torch: without one it is floats.
    """
    is_supported = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    return hasattr(torch, "_int_mm") and is_supported()


def _products(
    queries: Shaped[Tensor, "groups queries signs"], keys: Shaped[Tensor, "groups keys signs"]
) -> Shaped[Tensor, "groups queries keys"]:
    """Return the product of each query's signs with each key's."""
    if queries.dtype != torch.int8:
        return queries @ keys.transpose(1, 2)
    products = [torch._int_mm(*pair) for pair in zip(queries, keys.transpose(1, 2), strict=True)]
    return products[0][None] if len(products) == 1 else torch.stack(products)


@dataclass(frozen=True)
class HashedPairs:
    """Pairs that match at least ``least_matches`` times, or most often if there are none."""

    query_words: Int64[Tensor, "groups queries"]
    key_words: Int64[Tensor, "groups keys"]
    least_matches: Int64[Tensor, " groups"]
    rounds: int

    @staticmethod
    def find(
        queries: Float[Tensor, "batch heads queries size"],
        keys: Float[Tensor, "batch heads keys size"],
        config: SparseAttentionConfig,
        *,
        seed: int,
    ) -> HashedPairs:
        """Hash ``queries`` and ``keys``, count the matches of all pairs, choose the threshold."""
        projections = hash_projections(queries.shape[-1], rounds=config.rounds, seed=seed)
        batch, heads = queries.shape[:2]
        pairs = HashedPairs(
            query_words=hash_words(queries, projections).flatten(0, 1),
            key_words=hash_words(keys, projections).flatten(0, 1),
            least_matches=torch.zeros(batch * heads, dtype=torch.int64, device=queries.device),
            rounds=config.rounds,
        )
        histogram = pairs.histogram().unflatten(0, (batch, heads)).sum(dim=1)
        if config.threshold_per == "call":
            histogram = histogram.sum(dim=0, keepdim=True).expand(batch, -1)
        least = matches_to_see(histogram, sparsity=config.sparsity).repeat_interleave(heads)
        return HashedPairs(pairs.query_words, pairs.key_words, least, pairs.rounds)

    def histogram(self) -> Int64[Tensor, "groups counts"]:
        """Return how many pairs of each group match 0, 1, ... ``rounds`` times: exact."""
        totals = torch.zeros(
            len(self.query_words), self.rounds + 1, dtype=torch.int64, device=self.key_words.device
        )
        for tile, agreement in self._agreements():
            fourfold = agreement.add_(self.rounds).to(torch.uint8).flatten(1)
            for total, matches in zip(totals[tile.groups], fourfold, strict=True):
                total += torch.bincount(matches, minlength=4 * self.rounds + 1)[::4]
        return totals

    def penalties(self) -> Iterator[tuple[Tile, Tensor]]:
        """Yield each tile and what to add to its scores: 0, or hugely less for the unseen."""
        for tile, agreement in self._agreements():
            least = 4 * self.least_matches[tile.groups, None, None] - self.rounds
            least = torch.minimum(agreement.amax(dim=-1, keepdim=True), least.to(agreement.dtype))
            short_of = agreement.sub_(least).clamp_(max=0)
            yield tile, short_of.to(torch.float32).mul_(-_UNSEEN)

    def _agreements(self) -> Iterator[tuple[Tile, Tensor]]:
        """Yield each tile and ``4 * matches - rounds`` of its pairs."""
        num_groups, num_queries = self.query_words.shape
        device = self.query_words.device
        dtype = _signs_dtype(device)
        groups_at_once, queries_at_once = _tile_sizes(
            num_groups, num_queries, self.key_words.shape[1], device=device
        )
        for group in range(0, num_groups, groups_at_once):
            groups = slice(group, group + groups_at_once)
            queries, keys = (
                bucket_signs(words[groups], rounds=self.rounds, dtype=dtype)
                for words in (self.query_words, self.key_words)
            )
            for query in range(0, num_queries, queries_at_once):
                some = slice(query, query + queries_at_once)
                yield Tile(groups, some), _products(queries[:, some], keys)


@dataclass(frozen=True)
class MaskedPairs:
    """Pairs of a static mask, the same in all groups; a query without any sees all keys."""

    mask: StaticMask
    num_groups: int
    device: torch.device

    def penalties(self) -> Iterator[tuple[Tile, Tensor]]:
        """Yield each tile and what to add to its scores: 0, or hugely less for the unseen."""
        num_queries, num_keys = self.mask.num_queries, self.mask.num_keys
        # the mask is made once: all groups at a time, so fewer queries
        _, at_once = _tile_sizes(1, num_queries, num_keys * self.num_groups, device=self.device)
        starts = range(0, num_queries, at_once)
        ranges = [range(start, min(start + at_once, num_queries)) for start in starts]
        for queries, mask in zip(ranges, self.mask.rows(ranges), strict=True):
            seen = (mask | ~mask.any(dim=1, keepdim=True)).to(self.device)
            penalty = torch.zeros(self.num_groups, *seen.shape, device=self.device)
            penalty.masked_fill_(~seen, _UNSEEN)
            yield Tile(slice(None), slice(queries.start, queries.stop)), penalty


#: Both say which pairs are seen, tile by tile; the tiles cover everything once.
Pairs = HashedPairs | MaskedPairs


# Attention over them.


class _TiledAttention(torch.autograd.Function):
    """Attention whose backward pass makes the weights of each tile again instead of holding them.

    The gradients are those of the softmax over the seen pairs (as in FlashAttention,
    arXiv:2205.14135, appendix B): which pairs are seen does not change with the tokens.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, pairs: Pairs) -> Tensor:
        attended = queries.new_empty(*queries.shape[:2], values.shape[-1])
        with torch.autocast(queries.device.type, enabled=False):
            for tile, weights in _weights(queries, keys, pairs):
                attended[tile.groups, tile.queries] = weights @ values[tile.groups]
        ctx.save_for_backward(queries, keys, values, attended)
        ctx.pairs = pairs
        return attended

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, values, attended = ctx.saved_tensors
        # sums over many tiles: in half precision they would lose too much
        dtype = torch.promote_types(queries.dtype, torch.float32)
        of_queries = torch.empty_like(queries)
        of_keys, of_values = (torch.zeros_like(part, dtype=dtype) for part in (keys, values))
        scale = queries.shape[-1] ** -0.5
        with torch.autocast(queries.device.type, enabled=False):
            for tile, weights in _weights(queries, keys, ctx.pairs):
                groups, some = tile.groups, (tile.groups, tile.queries)
                arrived = gradient[some]
                _add_product(of_values[groups], weights.transpose(1, 2), arrived)
                mean = (arrived * attended[some]).sum(dim=-1, keepdim=True)
                of_scores = arrived @ values[groups].transpose(1, 2)
                of_scores.sub_(mean).mul_(weights).mul_(scale)
                of_queries[some] = of_scores @ keys[groups]
                _add_product(of_keys[groups], of_scores.transpose(1, 2), queries[some])
        return of_queries, of_keys.to(keys.dtype), of_values.to(values.dtype), None


def _weights(queries: Tensor, keys: Tensor, pairs: Pairs) -> Iterator[tuple[Tile, Tensor]]:
    """Yield each tile and its weights: they add up to 1 over the keys, 0 where unseen."""
    scale = queries.shape[-1] ** -0.5
    for tile, penalty in pairs.penalties():
        scores = penalty.to(queries.dtype)
        some, all_keys = queries[tile.groups, tile.queries], keys[tile.groups]
        scores.baddbmm_(some, all_keys.transpose(1, 2), alpha=scale)
        yield tile, torch.softmax(scores, dim=-1)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left @ right`` to ``total``, in place."""
    if total.dtype == left.dtype:
        total.baddbmm_(left, right)
    else:
        total += left @ right


def attention_over(
    queries: Float[Tensor, "batch heads queries size"],
    keys: Float[Tensor, "batch heads keys size"],
    values: Float[Tensor, "batch heads keys value_size"],
    pairs: Pairs,
) -> Float[Tensor, "batch heads queries value_size"]:
    """Scaled dot-product attention over ``pairs`` alone; differentiable once."""
    batch = queries.shape[0]
    groups = (rearrange(part, "batch head token size -> (batch head) token size")
              for part in (queries, keys, values))  # fmt: skip
    attended = _TiledAttention.apply(*groups, pairs)
    return rearrange(attended, "(batch head) token size -> batch head token size", batch=batch)


def reference_attention(
    queries: Float[Tensor, "*leading queries size"],
    keys: Float[Tensor, "*leading keys size"],
    values: Float[Tensor, "*leading keys value_size"],
    seen: Bool[Tensor, "... queries keys"],
) -> Float[Tensor, "*leading queries value_size"]:
    """Attention over the pairs ``seen``, from scores that are held: the plain form."""
    scores = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ values


class SparseAttention(nn.Module):
    """Scaled dot-product attention over the pairs that ``config`` says. It has no weights.

    ``layer`` is the layer's number in a network: each draws projections of its own, so that a
    pair that one layer misses another may see.
    """

    def __init__(self, config: SparseAttentionConfig, *, layer: int = 0) -> None:
        super().__init__()
        self.config = config
        self.layer = layer

    def find_pairs(
        self,
        queries: Float[Tensor, "batch heads queries size"],
        keys: Float[Tensor, "batch heads keys size"],
    ) -> Pairs:
        """Return the pairs that are seen."""
        config = self.config
        if config.kind == "lsh":
            with torch.no_grad():
                return HashedPairs.find(queries, keys, config, seed=config.seed + self.layer)
        mask = StaticMask(
            kinds=config.masks,
            num_queries=queries.shape[2],
            num_keys=keys.shape[2],
            diagonal_window=config.diagonal_window,
            global_window=config.global_window,
            sparsity=config.sparsity,
            seed=config.seed,
        )
        return MaskedPairs(mask, num_groups=queries.shape[:2].numel(), device=queries.device)

    def forward(
        self,
        queries: Float[Tensor, "batch heads queries size"],
        keys: Float[Tensor, "batch heads keys size"],
        values: Float[Tensor, "batch heads keys size"],
    ) -> Float[Tensor, "batch heads queries size"]:
        """Let each of ``queries`` look at the keys that it sees."""
        return attention_over(queries, keys, values, self.find_pairs(queries, keys))
