"""Each item of a batch brought to mean 0 and deviation 1, and back."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

#: Added to the deviation before dividing by it; as in all published networks of Demucs.
ITEM_DEVIATION_FLOOR = 1e-5


class ItemLevel(NamedTuple):
    """Mean and deviation (unbiased) of each item of a batch, shaped to be broadcast."""

    mean: Tensor
    deviation: Tensor

    def remove(self, signal: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return ``signal`` less the mean, divided by deviation + 1e-5."""
        return (signal - self.mean) / (ITEM_DEVIATION_FLOOR + self.deviation)

    def restore(self, signal: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return ``signal`` times the deviation, plus the mean."""
        return signal * self.deviation + self.mean


def item_level(signal: Float[Tensor, "batch ..."]) -> ItemLevel:
    """Return the level of each item over all of its axes.

    >>> import torch
    >>> level = item_level(torch.tensor([[[1.0, 2.0, 3.0]]]))
    >>> level.mean.item(), level.deviation.item()
    (2.0, 1.0)
    """
    axes = tuple(range(1, signal.ndim))
    return ItemLevel(
        mean=signal.mean(dim=axes, keepdim=True), deviation=signal.std(dim=axes, keepdim=True)
    )
