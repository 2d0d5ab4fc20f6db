"""Training pairs of an effect, made while they are asked for: dry sound, wet sound, knobs.

What is made depends on the seed and the number of the example alone, so that runs can be
repeated and resumed with any number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data.effect_inputs import DrySource, SyntheticDry
from audiform.effects import find_effect
from audiform.errors import DataError
from audiform.knob import HALF_RANGE, Knob, settings_to_network

#: Both parameters of the beta distribution that knobs are drawn from: it favours the ends, where
#: effects are hardest (as the published SignalTrain).
ENDS = 0.8


class Pair(NamedTuple):
    """What goes in, what should come out, and the knobs in their units."""

    dry: Float[Tensor, "channels time"]
    wet: Float[Tensor, "channels time"]
    settings: dict[str, float]


class PairTask(Protocol):
    """Something to learn: draws pairs from ``rng`` alone; picklable."""

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The knobs that every pair has a setting of."""
        ...

    def __call__(self, rng: np.random.Generator, *, samples: int, sample_rate: int) -> Pair:
        """Return a pair of ``samples`` samples, float32."""
        ...


def draw_settings(knobs: Sequence[Knob], rng: np.random.Generator) -> dict[str, float]:
    """Draw every knob from Beta(0.8, 0.8) over its range, evenly in its own scale."""
    return {
        knob.name: knob.from_network(float(rng.beta(ENDS, ENDS)) - HALF_RANGE) for knob in knobs
    }


@dataclass(frozen=True)
class RenderedEffect:
    """Pairs of a reference effect.

    ``lead_in_seconds`` of sound go before each pair and are cut off: the effect is in the middle
    of something then. ``inverse`` swaps dry and wet, for undoing the effect. ``fixed`` are knobs
    that are not drawn, and that the network does not see.
    """

    effect: str
    source: DrySource = field(default_factory=SyntheticDry)
    lead_in_seconds: float = 0.0
    inverse: bool = False
    fixed: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = find_effect(self.effect).knobs
        names = [knob.name for knob in known]
        unknown = sorted(set(self.fixed) - set(names))
        if unknown:
            raise DataError(
                f"{self.effect} has no knob {', '.join(unknown)} to fix; it has {', '.join(names)}"
            )
        for knob in known:
            if knob.name in self.fixed:
                knob.checked(self.fixed[knob.name])

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The effect's knobs that are drawn."""
        every = find_effect(self.effect).knobs
        return tuple(knob for knob in every if knob.name not in self.fixed)

    def __call__(self, rng: np.random.Generator, *, samples: int, sample_rate: int) -> Pair:
        """Return a pair of ``samples`` samples."""
        lead_in = round(self.lead_in_seconds * sample_rate)
        settings = draw_settings(self.knobs, rng)
        dry = self.source(rng, samples=lead_in + samples, sample_rate=sample_rate)
        effect = find_effect(self.effect)
        wet = effect.apply(dry, sample_rate, **settings, **self.fixed)
        dry, wet = dry[:, lead_in:].contiguous(), wet[:, lead_in:].contiguous()
        return Pair(wet, dry, settings) if self.inverse else Pair(dry, wet, settings)


@dataclass(frozen=True)
class EffectPairs:
    """Examples for the trainer: ``dry`` and ``wet`` (item, channel, time), ``knobs`` (item, knob).

    Knobs are in the network's range, in the order of ``task.knobs``. Draw n has the examples
    n ``draw_size`` to (n + 1) ``draw_size`` - 1.
    """

    task: PairTask
    samples: int
    sample_rate: int
    seed: int = 0
    draw_size: int = 1
    draws_per_epoch: int = 1000

    def __post_init__(self) -> None:
        if min(self.samples, self.sample_rate, self.draw_size, self.draws_per_epoch) < 1:
            raise DataError(
                f"pairs of {self.samples} samples at {self.sample_rate} Hz, {self.draw_size} to a "
                f"draw and {self.draws_per_epoch} draws to an epoch were asked for; each must be "
                "at least 1"
            )

    def pair(self, index: int) -> Pair:
        """Return example number ``index``, counted from 0 through all epochs."""
        rng = np.random.default_rng((self.seed, index))
        return self.task(rng, samples=self.samples, sample_rate=self.sample_rate)

    def __call__(self, draw: int) -> dict[str, Tensor]:
        """Return draw number ``draw`` as named tensors."""
        first = draw * self.draw_size
        pairs = [self.pair(index) for index in range(first, first + self.draw_size)]
        knobs = [settings_to_network(self.task.knobs, pair.settings) for pair in pairs]
        return {
            "dry": torch.stack([pair.dry for pair in pairs]),
            "wet": torch.stack([pair.wet for pair in pairs]),
            "knobs": torch.stack(knobs),
        }
