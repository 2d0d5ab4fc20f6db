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
tiles of some queries by some keys. docs/models/sparse-htdemucs.md has the equations and costs.
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

#: What is taken off the score of a pair that is not seen, at least. Finite, since 0 times
#: infinity is no number, and a power of two, so that multiples of it are exact.
_UNSEEN = 2.0**100

#: The least exponent: the weight of an unseen pair is 1e-26 of the highest and not 0, less than
#: float32 can add to it. Numbers that underflow make ``exp`` on a CPU twenty times slower, and
#: the product with the values three times.
_LEAST_EXPONENT = -60.0

#: Pairs in a tile, and keys. On a CPU what a tile needs should stay in its cache: two matrices
#: of 4 bytes a pair, and keys and values.
_TILE_PAIRS = {"cpu": 2**18, "cuda": 2**25}
_TILE_KEYS = {"cpu": 2**9, "cuda": 2**13}

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
class Rows:
    """Some groups and some of their queries."""

    groups: slice
    queries: slice


#: The tiles of some rows, one after another: their keys, and by how much each pair falls short of
#: being seen, as float32 numbers that are 0 for those that are seen and -1 or less for others.
Tiles = Iterator[tuple[slice, Float[Tensor, "groups queries keys"]]]


@dataclass(frozen=True)
class _TileSize:
    groups: int
    queries: int
    keys: int

    @staticmethod
    def of(num_groups: int, num_queries: int, num_keys: int, device: torch.device) -> _TileSize:
        """Return how much is done at once."""
        kind = device.type if device.type in _TILE_PAIRS else "cuda"
        keys = min(num_keys, _TILE_KEYS[kind])
        queries = min(num_queries, max(_MIN_TILE_QUERIES, _TILE_PAIRS[kind] // keys))
        return _TileSize(
            min(num_groups, max(1, _TILE_PAIRS[kind] // (queries * keys))), queries, keys
        )


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


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
    """Pairs that match at least ``least_matches`` times, or most often if there are none.

    ``most_matches`` is the most that each query has with any key.
    """

    query_words: Int64[Tensor, "groups queries"]
    key_words: Int64[Tensor, "groups keys"]
    least_matches: Int64[Tensor, " groups"]
    most_matches: Int64[Tensor, "groups queries"]
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
        query_words = hash_words(queries, projections).flatten(0, 1)
        key_words = hash_words(keys, projections).flatten(0, 1)
        histogram, most = _count(query_words, key_words, rounds=config.rounds)
        histogram = histogram.unflatten(0, (batch, heads)).sum(dim=1)
        if config.threshold_per == "call":
            histogram = histogram.sum(dim=0, keepdim=True).expand(batch, -1)
        least = matches_to_see(histogram, sparsity=config.sparsity).repeat_interleave(heads)
        return HashedPairs(query_words, key_words, least, most, config.rounds)

    def histogram(self) -> Int64[Tensor, "groups counts"]:
        """Return how many pairs of each group match 0, 1, ... ``rounds`` times: exact."""
        return _count(self.query_words, self.key_words, rounds=self.rounds)[0]

    def rows(self) -> Iterator[tuple[Rows, Tiles]]:
        """Yield groups and queries, each with its tiles; they cover all pairs once."""
        least = 4 * torch.minimum(self.most_matches, self.least_matches[:, None]) - self.rounds
        for rows, tiles in _agreements(self.query_words, self.key_words, rounds=self.rounds):
            yield rows, self._shortfalls(tiles, least[rows.groups, rows.queries, None])

    @staticmethod
    def _shortfalls(tiles: Tiles, least: Int64[Tensor, "groups queries 1"]) -> Tiles:
        for keys, agreement in tiles:
            short = agreement.sub_(least.to(agreement.dtype)).clamp_(max=0)
            yield keys, short.to(torch.float32)


def _count(
    query_words: Int64[Tensor, "groups queries"],
    key_words: Int64[Tensor, "groups keys"],
    *,
    rounds: int,
) -> tuple[Int64[Tensor, "groups counts"], Int64[Tensor, "groups queries"]]:
    """Return how many pairs match how often, and the most matches of each query."""
    totals = torch.zeros(len(query_words), rounds + 1, dtype=torch.int64, device=query_words.device)
    most = torch.zeros_like(query_words)
    for rows, tiles in _agreements(query_words, key_words, rounds=rounds):
        of_rows = most[rows.groups, rows.queries]
        for _, agreement in tiles:
            fourfold = agreement.add_(rounds).to(torch.uint8)
            torch.maximum(of_rows, fourfold.amax(dim=-1) // 4, out=of_rows)
            for total, matches in zip(totals[rows.groups], fourfold.flatten(1), strict=True):
                total += torch.bincount(matches, minlength=4 * rounds + 1)[::4]
    return totals, most


def _agreements(
    query_words: Int64[Tensor, "groups queries"],
    key_words: Int64[Tensor, "groups keys"],
    *,
    rounds: int,
) -> Iterator[tuple[Rows, Iterator[tuple[slice, Tensor]]]]:
    """Yield all rows with their tiles: keys, and ``4 * matches - rounds`` of each pair."""
    num_groups, num_queries = query_words.shape
    size = _TileSize.of(num_groups, num_queries, key_words.shape[1], query_words.device)
    dtype = _signs_dtype(query_words.device)
    key_slices = _slices(key_words.shape[1], size.keys)
    for groups in _slices(num_groups, size.groups):
        queries, keys = (
            bucket_signs(words[groups], rounds=rounds, dtype=dtype)
            for words in (query_words, key_words)
        )
        for some in _slices(num_queries, size.queries):
            part = queries[:, some]
            tiles = ((place, _products(part, keys[:, place])) for place in key_slices)
            yield Rows(groups, some), tiles


@dataclass(frozen=True)
class MaskedPairs:
    """Pairs of a static mask, the same in all groups; a query without any sees all keys."""

    mask: StaticMask
    num_groups: int
    device: torch.device

    def rows(self) -> Iterator[tuple[Rows, Tiles]]:
        """Yield queries of all groups, each with its one tile; they cover all pairs once."""
        num_queries, num_keys = self.mask.num_queries, self.mask.num_keys
        # the mask is made once: all groups and keys at a time, so fewer queries
        pairs = _TILE_PAIRS.get(self.device.type, _TILE_PAIRS["cuda"])
        at_once = max(_MIN_TILE_QUERIES, pairs // (num_keys * self.num_groups))
        places = _slices(num_queries, at_once)
        ranges = [range(place.start, place.stop) for place in places]
        for place, mask in zip(places, self.mask.rows(ranges), strict=True):
            seen = (mask | ~mask.any(dim=1, keepdim=True)).to(self.device)
            short = (seen.to(torch.float32) - 1).expand(self.num_groups, -1, -1)
            yield Rows(slice(None), place), iter([(slice(None), short)])


#: Both say which pairs are seen, tile by tile.
Pairs = HashedPairs | MaskedPairs


# Attention over them.


class _TiledAttention(torch.autograd.Function):
    """Attention whose backward pass makes the weights of each tile again instead of holding them.

    Softmax and gradients as in FlashAttention, arXiv:2205.14135, section 3.1 and appendix B,
    over the seen pairs alone: which these are does not change with the tokens.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, pairs: Pairs) -> Tensor:
        attended = queries.new_empty(*queries.shape[:2], values.shape[-1])
        log_sums = attended.new_empty(*queries.shape[:2], 1, dtype=_wide(queries))
        with torch.autocast(queries.device.type, enabled=False):
            for rows, tiles in pairs.rows():
                some = (rows.groups, rows.queries)
                attended[some], log_sums[some] = _attend_rows(
                    queries[some], keys[rows.groups], values[rows.groups], tiles
                )
        ctx.save_for_backward(queries, keys, values, attended, log_sums)
        ctx.pairs = pairs
        return attended

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, values, attended, log_sums = ctx.saved_tensors
        # sums over many tiles: in half precision they would lose too much
        of_queries, of_keys, of_values = (
            torch.zeros_like(part, dtype=_wide(part)) for part in (queries, keys, values)
        )
        scale = queries.shape[-1] ** -0.5
        with torch.autocast(queries.device.type, enabled=False):
            for rows, tiles in ctx.pairs.rows():
                groups, some = rows.groups, (rows.groups, rows.queries)
                arrived = gradient[some]
                mean = (arrived * attended[some]).sum(dim=-1, keepdim=True).to(_wide(queries))
                for place, short in tiles:
                    weights = _scores(queries[some], keys[groups, place], short)
                    weights = _exp(weights.sub_(log_sums[some]))
                    narrow = weights.to(queries.dtype)
                    of_scores = (arrived @ values[groups, place].transpose(1, 2)).to(_wide(queries))
                    of_scores = of_scores.sub_(mean).mul_(weights).to(queries.dtype)
                    _add_product(of_values[groups, place], narrow.transpose(1, 2), arrived)
                    _add_product(of_queries[some], of_scores, keys[groups, place])
                    _add_product(of_keys[groups, place], of_scores.transpose(1, 2), queries[some])
        of_queries, of_keys = of_queries.mul_(scale), of_keys.mul_(scale)
        return (
            of_queries.to(queries.dtype), of_keys.to(keys.dtype), of_values.to(values.dtype), None
        )  # fmt: skip


def _attend_rows(
    queries: Tensor, keys: Tensor, values: Tensor, tiles: Tiles
) -> tuple[Tensor, Tensor]:
    """Return what some queries attend to, and the logarithm of the sums of their weights.

    Tile after tile, sums are of weights relative to the highest score so far. Tiles without a
    seen pair leave nonsense in them, which the first seen pair multiplies by exp(-2^100): 0.
    """
    total = queries.new_zeros(*queries.shape[:2], values.shape[-1], dtype=_wide(queries))
    sums = total.new_zeros(*queries.shape[:2], 1)
    highest = torch.full_like(sums, -torch.inf)
    for place, short in tiles:
        scores = _scores(queries, keys[:, place], short)
        before, highest = highest, torch.maximum(highest, scores.amax(dim=-1, keepdim=True))
        weights = _exp(scores.sub_(highest))
        fade = (before - highest).exp_()
        sums = sums.mul_(fade).add_(weights.sum(dim=-1, keepdim=True))
        _add_product(total.mul_(fade), weights.to(values.dtype), values[:, place])
    return total.div_(sums), sums.log_().add_(highest)


def _scores(queries: Tensor, keys: Tensor, short: Tensor) -> Tensor:
    """Return the scores of a tile, those of unseen pairs hugely lower; ``short`` is used up."""
    scale = queries.shape[-1] ** -0.5
    if queries.dtype == torch.float32 and short.is_contiguous():
        return short.baddbmm_(queries, keys.transpose(1, 2), beta=_UNSEEN, alpha=scale)
    scores = (queries @ keys.transpose(1, 2)).to(_wide(queries))
    return scores.mul_(scale).add_(short, alpha=_UNSEEN)


def _exp(exponents: Tensor) -> Tensor:
    """Return the exponential, in place."""
    return exponents.clamp_(min=_LEAST_EXPONENT).exp_()


def _wide(tensor: Tensor) -> torch.dtype:
    """Return the type for sums over many tiles: float32 at least."""
    return torch.promote_types(tensor.dtype, torch.float32)


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
