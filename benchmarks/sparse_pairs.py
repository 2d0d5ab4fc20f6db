"""Which pairs the hashing of sparse attention finds: their share, and how much attention they hold.

On vectors whose structure is known: independent ones, twenty clusters, eight dimensions of
64, and a common direction that some have more of than others.
"""

from __future__ import annotations

import json

import torch
from measure import commit, parser
from torch import Tensor

from audiform.nn.sparse_attention import (
    HashedPairs,
    SparseAttentionConfig,
    count_matches,
    seen_pairs,
)

TOKENS, SIZE, HEADS = 2688, 64, 2


def vectors(kind: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return queries and keys, (1, heads, tokens, size)."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    if kind == "independent":
        return normal(1, HEADS, TOKENS, SIZE), normal(1, HEADS, TOKENS, SIZE)
    if kind == "20 clusters":
        centres = 1.5 * normal(20, SIZE)
        members = torch.randint(20, (2, TOKENS), generator=generator)
        queries, keys = (centres[some] + normal(1, HEADS, TOKENS, SIZE) for some in members)
        return queries, keys
    if kind == "common direction":
        direction = normal(SIZE)
        queries, keys = (
            3 * torch.rand(1, HEADS, TOKENS, 1, generator=generator) * direction
            + normal(1, HEADS, TOKENS, SIZE)
            for _ in range(2)
        )
        return queries, keys
    basis = normal(8, SIZE)
    queries, keys = (
        normal(1, HEADS, TOKENS, 8) @ basis + 0.3 * normal(1, HEADS, TOKENS, SIZE) for _ in range(2)
    )
    return queries, keys


def empty_blocks(seen: Tensor, words: tuple[Tensor, Tensor], size: int) -> float:
    """Return the share of blocks without a pair, queries and keys sorted by their words."""
    ordered = seen[words[0].argsort()][:, words[1].argsort()]
    blocks = ordered.unflatten(1, (-1, size)).unflatten(0, (-1, size))
    return 1 - blocks.any(dim=3).any(dim=1).double().mean().item()


def figures(kind: str, sparsity: float, seed: int) -> dict[str, float]:
    """Return what the pairs of one kind of vectors are like."""
    queries, keys = vectors(kind, torch.Generator().manual_seed(seed))
    config = SparseAttentionConfig(sparsity=sparsity)
    pairs = HashedPairs.find(queries, keys, config, seed=seed)
    least = int(pairs.least_matches[0])
    counts = torch.stack([
        count_matches(*words, rounds=config.rounds)
        for words in zip(pairs.query_words, pairs.key_words, strict=True)
    ])  # fmt: skip
    seen = seen_pairs(counts, least)
    weights = (queries @ keys.mT * SIZE**-0.5).flatten(0, 1).softmax(dim=-1)
    number = round(seen.double().mean().item() * TOKENS)
    return {
        "k": least,
        "share of pairs": (counts >= least).double().mean().item(),
        "queries without a pair": (counts.amax(dim=-1) < least).double().mean().item(),
        "attention held": (weights * seen).sum(dim=-1).mean().item(),
        "most as many can hold": weights.topk(number).values.sum(dim=-1).mean().item(),
        "empty blocks of 16": empty_blocks(seen[0], (pairs.query_words[0], pairs.key_words[0]), 16),
    }


def main() -> None:
    """Print the table."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    rows = []
    for kind in ("independent", "20 clusters", "8 dimensions", "common direction"):
        for sparsity in (0.9, 0.95):
            row = figures(kind, sparsity, options.seed)
            if not rows:
                print(f"| vectors | sparsity | {' | '.join(row)} |")
                print("|---|---" + "|---" * len(row) + "|")
            shown = [f"{value:.3g}" for value in row.values()]
            print(f"| {kind} | {sparsity:g} | {' | '.join(shown)} |", flush=True)
            rows.append({"vectors": kind, "sparsity": sparsity, **row})
    if options.json is not None:
        options.json.write_text(json.dumps({"commit": commit(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
