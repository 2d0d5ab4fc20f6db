"""Spectra a few rows at a time, where no gradient is wanted.

The operations of a layer follow on each other while their numbers are in the processor's cache,
and nothing but the layer's result is held for all rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

#: Numbers of features in a stretch: a quarter of it costs more than it saves.
STRETCH_SIZE = 1 << 22


def is_large(features: Float[Tensor, "batch channels rows time"]) -> bool:
    """Tell whether features are more than a stretch of them; what is traced is not divided."""
    return features.numel() > STRETCH_SIZE and not torch.jit.is_tracing()


def stretches(num_rows: int, *, row_size: int) -> list[tuple[int, int]]:
    """Return first row and end of stretches of about :data:`STRETCH_SIZE` numbers.

    >>> stretches(5, row_size=STRETCH_SIZE // 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    length = max(1, STRETCH_SIZE // row_size)
    return [(first, min(first + length, num_rows)) for first in range(0, num_rows, length)]


def take_rows(
    features: Float[Tensor, "batch channels rows time"], first: int, stop: int
) -> Float[Tensor, "batch channels {stop-first} time"]:
    """Return a copy of the rows [first, stop), zeros where these lie outside."""
    num_rows = features.shape[2]
    inside = features[:, :, max(0, first) : min(stop, num_rows)]
    return F.pad(inside, (0, 0, max(0, -first), max(0, stop - num_rows)))
