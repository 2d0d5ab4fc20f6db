"""Level of a whole track, gathered block by block.

A statistic is immutable: ``statistic = statistic.update(block)`` for each block, then
``statistic.normalisation()``. The engine gathers the one that a model declares in a first
pass over the file, so that no more than a block is held in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

#: Added to the deviation so that silence does not divide by zero; as Demucs' ``Separator``.
DEVIATION_FLOOR = 1e-8


@dataclass(frozen=True)
class Normalisation:
    """How a track is brought to the level that a model wants: ``(x - offset) / scale``."""

    offset: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class NoStatistic:
    """For models that normalise each segment themselves, or not at all."""

    def update(self, block: Float[Tensor, "channels time"]) -> NoStatistic:
        """Ignore ``block``."""
        return self

    def normalisation(self) -> Normalisation:
        """Return the identity."""
        return Normalisation()


@dataclass(frozen=True)
class MonoDeviation:
    """Mean and standard deviation (unbiased) of the mean over channels.

    Running moments in double precision, merged by Chan, Golub and LeVeque,
    "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """

    count: int = 0
    mean: float = 0.0
    sum_of_squares: float = 0.0

    def update(self, block: Float[Tensor, "channels time"]) -> MonoDeviation:
        """Return the statistic with ``block`` taken in."""
        mono = block.double().mean(dim=0)
        count = mono.shape[0]
        if count == 0:
            return self
        mean = mono.mean().item()
        squares = (mono - mean).square().sum().item()
        total = self.count + count
        difference = mean - self.mean
        return MonoDeviation(
            count=total,
            mean=self.mean + difference * count / total,
            sum_of_squares=self.sum_of_squares
            + squares
            + difference * difference * self.count * count / total,
        )

    def normalisation(self) -> Normalisation:
        """Return offset = mean, scale = deviation + 1e-8 (1e-8 for fewer than two samples)."""
        if self.count < 2:
            return Normalisation(offset=self.mean, scale=1.0)
        deviation = math.sqrt(self.sum_of_squares / (self.count - 1))
        return Normalisation(offset=self.mean, scale=deviation + DEVIATION_FLOOR)
