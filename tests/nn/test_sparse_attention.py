"""Sparse attention against its plain form, dense attention, and the published static masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from audiform.nn import sparse_attention
from audiform.nn.sparse_attention import (
    HashedPairs,
    SparseAttention,
    SparseAttentionConfig,
    attention_over,
    bucket_signs,
    count_matches,
    hash_projections,
    hash_words,
    matches_to_see,
    reference_attention,
    seen_pairs,
)
from audiform.nn.static_masks import StaticMask

SPARSITIES = (0.0, 0.5, 0.9, 0.95)
#: Sums of float32 in another order.
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch) -> None:
    """Let the small cases here fall into many tiles, the last ones incomplete."""
    monkeypatch.setitem(sparse_attention._TILE_PAIRS, "cpu", 600)
    monkeypatch.setitem(sparse_attention._TILE_KEYS, "cpu", 25)
    monkeypatch.setattr(sparse_attention, "_MIN_TILE_QUERIES", 7)
    monkeypatch.setattr(sparse_attention, "_HASH_TOKENS", 50)


def tokens(
    *, batch=2, heads=3, queries=45, keys=60, size=16, spread=1.0, seed=0, dtype=torch.float32
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return queries, keys and values; less ``spread`` makes queries more like one another."""
    generator = torch.Generator().manual_seed(seed)

    def draw(number: int, common: float) -> torch.Tensor:
        drawn = torch.randn(batch, heads, number, size, generator=generator, dtype=dtype)
        return spread * drawn + common

    return draw(queries, 1 - spread), draw(keys, 1 - spread), draw(keys, 0.0)


def plain_pairs(queries, keys, config, *, seed) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the counts and the pairs seen, from the definition and nothing else."""
    projected = torch.einsum(
        "bhnd,drp->bhnrp",
        torch.cat([queries, keys], dim=2),
        hash_projections(queries.shape[-1], rounds=config.rounds, seed=seed).to(queries.dtype),
    )
    buckets = torch.cat([projected, -projected], dim=-1).argmax(dim=-1)
    of_queries, of_keys = buckets.split([queries.shape[2], keys.shape[2]], dim=2)
    counts = (of_queries[:, :, :, None] == of_keys[:, :, None]).sum(dim=-1)
    shares = [(counts >= k).double().mean().item() for k in range(config.rounds + 1)]
    least = min(range(len(shares)), key=lambda k: abs(shares[k] - (1 - config.sparsity)))
    seen = counts >= least
    most = counts == counts.amax(dim=-1, keepdim=True)
    return counts, torch.where(seen.any(dim=-1, keepdim=True), seen, most)


def seen_in_tiles(pairs, *, groups: int, queries: int, keys: int) -> torch.Tensor:
    """Return what the tiles say is seen, and check that they cover everything once."""
    seen = torch.zeros(groups, queries, keys, dtype=torch.bool)
    covered = torch.zeros(groups, queries, keys, dtype=torch.int64)
    for rows, tiles in pairs.rows():
        for place, short in tiles:
            assert ((short == 0) | (short <= -1)).all()
            seen[rows.groups, rows.queries, place] = short == 0
            covered[rows.groups, rows.queries, place] += 1
    assert (covered == 1).all()
    return seen


@pytest.mark.parametrize("spread", [1.0, 0.5])
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_it_equals_the_plain_form_over_the_same_pairs(sparsity, spread) -> None:
    queries, keys, values = tokens(spread=spread)
    config = SparseAttentionConfig(sparsity=sparsity)
    attention = SparseAttention(config, layer=3)
    _, expected = plain_pairs(queries, keys, config, seed=config.seed + 3)
    found = seen_in_tiles(attention.find_pairs(queries, keys), groups=6, queries=45, keys=60)
    assert torch.equal(found.unflatten(0, (2, 3)), expected)
    torch.testing.assert_close(
        attention(queries, keys, values),
        reference_attention(queries, keys, values, expected),
        atol=TOLERANCE,
        rtol=0,
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.float16, torch.float32])
def test_the_type_of_the_signs_changes_nothing(dtype, monkeypatch) -> None:
    queries, keys, _ = tokens()
    config = SparseAttentionConfig()
    _, expected = plain_pairs(queries, keys, config, seed=42)
    monkeypatch.setattr(sparse_attention, "_signs_dtype", lambda device: dtype)
    pairs = SparseAttention(config).find_pairs(queries, keys)
    found = seen_in_tiles(pairs, groups=6, queries=45, keys=60)
    assert torch.equal(found.unflatten(0, (2, 3)), expected)


def test_without_sparsity_it_is_dense_attention() -> None:
    queries, keys, values = tokens()
    attention = SparseAttention(SparseAttentionConfig(sparsity=0.0))
    expected = F.scaled_dot_product_attention(queries, keys, values)
    torch.testing.assert_close(attention(queries, keys, values), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("rounds", [1, 5, 31, 32])
def test_words_signs_and_buckets_agree(rounds) -> None:
    queries, keys, _ = tokens()
    config = SparseAttentionConfig(rounds=rounds)
    counts, _ = plain_pairs(queries, keys, config, seed=0)
    projections = hash_projections(16, rounds=rounds, seed=0)
    words = hash_words(queries, projections), hash_words(keys, projections)
    assert torch.equal(count_matches(*words, rounds=rounds), counts)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        signs = [bucket_signs(word, rounds=rounds, dtype=dtype) for word in words]
        assert torch.equal(((signs[0] @ signs[1].mT) + rounds) / 4, counts.to(dtype))
    pairs = HashedPairs.find(queries, keys, config, seed=0)
    expected = torch.stack([group.flatten().bincount(minlength=rounds + 1)
                            for group in counts.flatten(0, 1)])  # fmt: skip
    assert torch.equal(pairs.histogram(), expected)


def test_k_is_the_one_whose_share_is_nearest() -> None:
    histogram = torch.tensor([50, 30, 15, 5])  # at least 0, 1, 2, 3: all, 50, 20, 5 of 100
    for sparsity, expected in ((0.0, 0), (0.2, 0), (0.3, 1), (0.6, 1), (0.7, 2), (0.99, 3)):
        assert matches_to_see(histogram, sparsity=sparsity) == expected
    # all and half are equally near: the lesser k
    assert matches_to_see(torch.tensor([4, 4]), sparsity=0.25) == 0


def test_the_share_is_near_what_was_asked() -> None:
    queries, keys, _ = tokens(queries=300, keys=300, size=64)
    for sparsity in (0.5, 0.9, 0.95):
        pairs = SparseAttention(SparseAttentionConfig(sparsity=sparsity)).find_pairs(queries, keys)
        histogram = pairs.histogram().sum(dim=0).double()
        shares = histogram.flip(0).cumsum(0).flip(0) / histogram.sum()
        least = pairs.least_matches[0]
        assert (shares - 1 + sparsity).abs().min() == (shares[least] - 1 + sparsity).abs()
        # one step of k changes the share of independent vectors by less than half of it
        assert shares[least] == pytest.approx(1 - sparsity, rel=0.35)


def test_a_query_that_no_key_matches_sees_those_that_match_it_most() -> None:
    counts = torch.tensor([[3, 9, 9, 0], [12, 0, 11, 13], [0, 0, 0, 0]])
    expected = [[False, True, True, False], [True, False, False, True], [True] * 4]
    assert seen_pairs(counts, 12).tolist() == expected
    queries, keys, values = tokens(spread=0.3)
    config = SparseAttentionConfig(sparsity=0.99)
    pairs = SparseAttention(config).find_pairs(queries, keys)
    counts, expected = plain_pairs(queries, keys, config, seed=config.seed)
    assert (counts.amax(dim=-1) < pairs.least_matches[0]).any()
    assert torch.equal(seen_pairs(counts, pairs.least_matches.unflatten(0, (2, 3))), expected)
    attended = attention_over(queries, keys, values, pairs)
    assert torch.isfinite(attended).all()
    torch.testing.assert_close(
        attended, reference_attention(queries, keys, values, expected), atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("value", [0.0, 1e4])
def test_tokens_that_are_all_alike_give_numbers(value) -> None:
    alike = torch.full((1, 2, 9, 4), value, requires_grad=True)
    attended = SparseAttention(SparseAttentionConfig())(alike, alike, alike)
    attended.sum().backward()
    torch.testing.assert_close(attended, alike)
    assert torch.isfinite(alike.grad).all()


def test_one_threshold_for_the_call_or_one_for_each_item() -> None:
    narrow, wide = (tokens(batch=1, spread=spread, seed=3) for spread in (0.3, 1.0))
    queries, keys, values = (torch.cat(parts) for parts in zip(narrow, wide, strict=True))
    call, item = (
        SparseAttention(SparseAttentionConfig(threshold_per=per)) for per in ("call", "item")
    )
    both = call.find_pairs(queries, keys)
    assert both.least_matches.unique().numel() == 1
    alone = [call.find_pairs(*some[:2]).least_matches[0].item() for some in (narrow, wide)]
    assert alone[0] != alone[1]
    assert item.find_pairs(queries, keys).least_matches.tolist() == [alone[0]] * 3 + [alone[1]] * 3
    together = item(queries, keys, values)
    apart = torch.cat([item(*narrow), item(*wide)])
    torch.testing.assert_close(together, apart, atol=TOLERANCE, rtol=0)
    # heads share the threshold of their item or call
    heads = call.find_pairs(narrow[0][:, :1], narrow[1][:, :1]).histogram()
    assert torch.equal(heads[0], call.find_pairs(*narrow[:2]).histogram()[0])


def test_seeds_and_layers() -> None:
    queries, keys, values = tokens()
    config = SparseAttentionConfig(seed=7)
    first = SparseAttention(config)(queries, keys, values)
    torch.manual_seed(99)  # the global generator plays no part
    assert torch.equal(SparseAttention(config)(queries, keys, values), first)
    for other in (SparseAttention(config, layer=1), SparseAttention(SparseAttentionConfig(seed=8))):
        assert not torch.equal(other(queries, keys, values), first)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_gradients_equal_those_of_the_plain_form(sparsity) -> None:
    parts = [part.requires_grad_() for part in tokens()]
    config = SparseAttentionConfig(sparsity=sparsity)
    _, seen = plain_pairs(*parts[:2], config, seed=config.seed)
    expected = reference_attention(*parts, seen)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((SparseAttention(config)(*parts) * weights).sum(), parts)
    for ours, plain in zip(
        found, torch.autograd.grad((expected * weights).sum(), parts), strict=True
    ):
        torch.testing.assert_close(ours, plain, atol=TOLERANCE, rtol=0)


def test_gradcheck() -> None:
    parts = tokens(batch=1, heads=2, queries=9, keys=10, size=3, dtype=torch.float64)
    pairs = SparseAttention(SparseAttentionConfig(sparsity=0.7)).find_pairs(*parts[:2])
    leaves = tuple(part.requires_grad_() for part in parts)
    assert torch.autograd.gradcheck(lambda *some: attention_over(*some, pairs), leaves)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype) -> None:
    parts = [part.to(dtype).requires_grad_() for part in tokens()]
    attention = SparseAttention(SparseAttentionConfig(sparsity=0.9))
    whole = [part.detach().float().requires_grad_() for part in parts]
    found, expected = attention(*parts), attention(*whole)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=3e-2, rtol=0)  # 8 bits of mantissa
    found.float().square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in zip(parts, whole, strict=True):
        scale = theirs.grad.abs().max().item()
        torch.testing.assert_close(ours.grad.float(), theirs.grad, atol=5e-2 * scale, rtol=0)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float32])
def test_autocast_does_not_change_which_pairs_are_seen(dtype, monkeypatch) -> None:
    monkeypatch.setattr(sparse_attention, "_signs_dtype", lambda device: dtype)
    queries, keys, values = tokens()
    attention = SparseAttention(SparseAttentionConfig())
    expected = attention.find_pairs(queries, keys)
    with torch.autocast("cpu", torch.bfloat16):
        found = attention.find_pairs(queries, keys)
        inside = seen_in_tiles(found, groups=6, queries=45, keys=60)
        whole = attention_over(queries, keys, values.requires_grad_(), found)
        assert torch.is_autocast_enabled("cpu")
    torch.testing.assert_close(
        whole, attention_over(queries, keys, values, expected), atol=0, rtol=0
    )
    whole.sum().backward()
    assert torch.equal(inside, seen_in_tiles(expected, groups=6, queries=45, keys=60))


@pytest.mark.parametrize(
    "sizes", [(60, 45), (45, 60), (31, 31), (12, 100)], ids=lambda sizes: "x".join(map(str, sizes))
)
@pytest.mark.parametrize(
    "kinds",
    [("diag",), ("jmask",), ("random",), ("global",), ("diag", "jmask", "random", "global")],
    ids="_".join,
)
def test_static_masks_are_the_published_ones(kinds, sizes) -> None:
    published = pytest.importorskip(
        "demucs.transformer", reason="the published package is the oracle"
    )
    queries, keys = sizes
    options = {"sparse_attn_window": 4, "global_window": 6, "mask_random_seed": 42,
               "sparsity": 0.9, "device": "cpu"}  # fmt: skip
    expected = torch.zeros(queries, keys, dtype=torch.bool)
    for kind in kinds:
        expected |= published.get_elementary_mask(keys, queries, kind, **options)
    mask = StaticMask(kinds, queries, keys, diagonal_window=4, global_window=6,
                      sparsity=0.9, seed=42)  # fmt: skip
    ranges = [range(start, min(start + 7, queries)) for start in range(0, queries, 7)]
    assert torch.equal(torch.cat(list(mask.rows(ranges))), expected)


@pytest.mark.parametrize("masks", [("diag",), ("jmask", "random"), ("global",)], ids="_".join)
def test_static_attention_equals_the_plain_form(masks) -> None:
    parts = [part.requires_grad_() for part in tokens()]
    config = SparseAttentionConfig(
        kind="static", masks=masks, diagonal_window=3, global_window=0, sparsity=0.9
    )
    mask = StaticMask(masks, 45, 60, diagonal_window=3, global_window=0, sparsity=0.9, seed=42)
    (seen,) = mask.rows([range(45)])
    if masks == ("global",):  # an empty mask: then a query sees all keys
        assert not seen.any()
        seen = ~seen
    attention = SparseAttention(config)
    found, expected = attention(*parts), reference_attention(*parts, seen)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    pairs = attention.find_pairs(*parts[:2])
    assert torch.equal(seen_in_tiles(pairs, groups=6, queries=45, keys=60), seen.expand(6, -1, -1))
    ours = torch.autograd.grad(found.square().sum(), parts)
    for one, other in zip(ours, torch.autograd.grad(expected.square().sum(), parts), strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"self_attention": False, "cross_attention": False}, "sparse = None"),
        ({"kind": "lsh", "masks": ("random",)}, "masks .* no effect"),
        ({"kind": "static", "rounds": 16}, "rounds .* no effect"),
        ({"rounds": 33}, "32"),
        ({"sparsity": 1.0}, "less than 1"),
        ({"masks": ()}, "at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message) -> None:
    with pytest.raises(ValidationError, match=message):
        SparseAttentionConfig(**options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu() -> None:
    parts = tokens(queries=300, keys=280, size=64)
    attention = SparseAttention(SparseAttentionConfig(sparsity=0.9))
    pairs = attention.find_pairs(*parts[:2])
    moved = HashedPairs(*(part.cuda() for part in (pairs.query_words, pairs.key_words,
                                                   pairs.least_matches, pairs.most_matches)),
                        pairs.rounds)  # fmt: skip
    assert torch.equal(moved.histogram().cpu(), pairs.histogram())
    ours = [part.cuda().requires_grad_() for part in parts]
    plain = [part.clone().requires_grad_() for part in parts]
    found, expected = attention_over(*ours, moved), attention_over(*plain, pairs)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)
    found.square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one.grad.cpu(), other.grad, atol=1e-3, rtol=0)
    assert torch.isfinite(attention(*ours)).all()
