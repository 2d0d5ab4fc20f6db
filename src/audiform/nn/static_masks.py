"""Masks of attention that do not depend on what the tokens hold, a few queries at a time.

The four kinds of the published package ``demucs`` (``demucs.transformer.get_elementary_mask``),
pair for pair. A mask of all queries and keys is never held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

MaskKind = Literal["diag", "jmask", "random", "global"]


@dataclass(frozen=True)
class StaticMask:
    """The union of ``kinds``, over ``num_queries`` x ``num_keys`` pairs.

    ========  =================================================================================
    diag      keys at most ``diagonal_window`` away, at the same relative position
    jmask     keys 0, 1, 3, 6, 10, ... away: near ones densely, far ones rarely
    random    each pair with the probability 1 - ``sparsity``; the same pairs on every device
    global    the first ``global_window`` keys for every query, and every key for as large a
              share of the queries
    ========  =================================================================================
    """

    kinds: tuple[MaskKind, ...]
    num_queries: int
    num_keys: int
    diagonal_window: int
    global_window: int
    sparsity: float
    seed: int

    def rows(self, queries: Iterable[range]) -> Iterator[Bool[Tensor, "rows keys"]]:
        """Yield the mask of each range of queries; the ranges follow each other from 0 on."""
        generator = torch.Generator().manual_seed(self.seed)
        for some in queries:
            mask = torch.zeros(len(some), self.num_keys, dtype=torch.bool)
            for kind in self.kinds:
                mask |= self._elementary(kind, some, generator)
            yield mask

    def _elementary(
        self, kind: MaskKind, queries: range, generator: torch.Generator
    ) -> Bool[Tensor, "rows keys"]:
        if kind == "random":
            drawn = torch.rand(len(queries), self.num_keys, generator=generator)
            return drawn > self.sparsity
        index = torch.arange(queries.start, queries.stop)[:, None]
        if kind == "global":
            num_global_queries = int(self.global_window * self.num_queries / self.num_keys)
            return (index < num_global_queries) | (torch.arange(self.num_keys) < self.global_window)
        if kind == "diag":
            steps = torch.arange(-self.diagonal_window, self.diagonal_window + 1)
            return self._around(index, steps, num_keys=self.num_keys)
        distances = torch.arange(int((2 * self.num_keys) ** 0.5 + 1))
        distances = (distances * (distances + 1) / 2).int()
        steps = torch.cat([-distances.flip(0)[:-1], distances])
        # one key and one query more at either end catch what lies outside
        return self._around(index + 1, steps, num_keys=self.num_keys + 2)[:, 1:-1]

    def _around(self, index: Tensor, steps: Tensor, *, num_keys: int) -> Tensor:
        """Mark the keys that are ``steps`` from the place that answers to each query."""
        ratio = self.num_keys / self.num_queries
        columns = (ratio * index + steps).long().clamp(0, num_keys - 1)
        mask = torch.zeros(len(index), num_keys, dtype=torch.bool)
        return mask.scatter_(1, columns, torch.ones(1, dtype=torch.bool).expand_as(columns))
