"""Learning rates in closed form: a function of where the run stands, with nothing to restore.

A run that resumes, or whose length was changed, has the rate that its position says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

#: Least factor while the rate warms up: the first step must move something.
WARMUP_FLOOR = 1e-3


@dataclass(frozen=True)
class Position:
    """Where a run stands before a step: steps done, epochs done, share of the run spent."""

    step: int
    epoch: float
    share: float


class _WarmUp(BaseModel):
    """Rises in a straight line over the first ``warmup_share`` of the run, or its first steps.

    Give one of the two. Shapes that depend on the share begin when the warm-up share is over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    warmup_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    warmup_steps: NonNegativeInt = 0

    def warmup(self, position: Position) -> float:
        """Return the factor of the warm-up, 1 once it is over."""
        factor = 1.0
        if self.warmup_share:
            factor = position.share / self.warmup_share
        if self.warmup_steps:
            factor = min(factor, (position.step + 1) / self.warmup_steps)
        return min(1.0, max(WARMUP_FLOOR, factor))

    def rest(self, position: Position) -> float:
        """Return the share that is spent of what follows the warm-up, in [0, 1]."""
        rest = (position.share - self.warmup_share) / (1.0 - self.warmup_share)
        return min(1.0, max(0.0, rest))


class ConstantSchedule(_WarmUp):
    """One rate throughout."""

    kind: Literal["constant"] = "constant"

    def factor(self, position: Position) -> float:
        """Return what the learning rate is multiplied by."""
        return self.warmup(position)


class LinearSchedule(_WarmUp):
    """Falls in a straight line to ``final_factor`` at the end of the run."""

    kind: Literal["linear"] = "linear"
    final_factor: float = Field(default=0.0, ge=0.0, le=1.0)

    def factor(self, position: Position) -> float:
        """Return what the learning rate is multiplied by."""
        fall = 1.0 - (1.0 - self.final_factor) * self.rest(position)
        return self.warmup(position) * fall


class CosineSchedule(_WarmUp):
    """Falls along half a cosine to ``final_factor`` at the end of the run."""

    kind: Literal["cosine"] = "cosine"
    final_factor: float = Field(default=0.0, ge=0.0, le=1.0)

    def factor(self, position: Position) -> float:
        """Return what the learning rate is multiplied by."""
        return self.warmup(position) * _cosine(1.0, self.final_factor, self.rest(position))


class StepSchedule(_WarmUp):
    """Is multiplied by ``decay`` after every ``every_epochs`` epochs."""

    kind: Literal["step"] = "step"
    every_epochs: PositiveInt
    decay: PositiveFloat = Field(default=0.1, lt=1.0)

    def factor(self, position: Position) -> float:
        """Return what the learning rate is multiplied by."""
        return self.warmup(position) * self.decay ** (int(position.epoch) // self.every_epochs)


class ExponentialSchedule(_WarmUp):
    """Is multiplied by ``decay`` in each epoch, smoothly."""

    kind: Literal["exponential"] = "exponential"
    decay: PositiveFloat = Field(lt=1.0)

    def factor(self, position: Position) -> float:
        """Return what the learning rate is multiplied by."""
        return self.warmup(position) * self.decay**position.epoch


class OneCycleSchedule(BaseModel):
    """Rises along a cosine from ``initial_factor`` to 1, then falls along one to ``final_factor``.

    L. N. Smith and N. Topin, "Super-Convergence", arXiv:1708.07120; the defaults are those of
    SignalTrain (S. H. Hawley et al., arXiv:1905.11928, and its published settings): up from 1/15
    in 30 % of the run, down to 1/1500. The momentum stays as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["one-cycle"] = "one-cycle"
    rise_share: float = Field(default=0.3, gt=0.0, lt=1.0)
    initial_factor: float = Field(default=1 / 15, ge=0.0, le=1.0)
    final_factor: float = Field(default=1 / 1500, ge=0.0, le=1.0)

    def factor(self, position: Position) -> float:
        """Return what the learning rate is multiplied by."""
        share = min(1.0, position.share)
        if share < self.rise_share:
            return _cosine(self.initial_factor, 1.0, share / self.rise_share)
        return _cosine(1.0, self.final_factor, (share - self.rise_share) / (1.0 - self.rise_share))


def _cosine(start: float, end: float, share: float) -> float:
    """Go from ``start`` to ``end`` along half a cosine."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * share))


#: Any of the schedules; ``kind`` tells which.
Schedule = Annotated[
    ConstantSchedule
    | LinearSchedule
    | CosineSchedule
    | StepSchedule
    | ExponentialSchedule
    | OneCycleSchedule,
    Field(discriminator="kind"),
]
