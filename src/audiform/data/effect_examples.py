"""Examples for the trainer, cut from recordings of an effect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audiform.data.effect_recordings import BLOCK_SAMPLES, Take, TakeReader
from audiform.errors import DataError
from audiform.knob import Knob, settings_to_network


class RecordedExamples:
    """Pieces of takes for the trainer, each setting as often as any other.

    ``dry`` (item, 1, time) is ``context_samples`` of what came before, ``segment_samples`` and
    ``ahead_samples``; ``wet`` (item, 1, segment); ``knobs`` (item, knob) in the network's range;
    ``power`` (item) is the mean square of the setting's targets, by which errors are weighed.
    """

    draw_size = 1

    def __init__(
        self,
        takes: Sequence[Take],
        knobs: Sequence[Knob],
        *,
        context_samples: int,
        segment_samples: int,
        ahead_samples: int = 0,
        seed: int = 0,
    ) -> None:
        self.knobs = tuple(knobs)
        self.context_samples, self.ahead_samples = context_samples, ahead_samples
        self.segment_samples = segment_samples
        self.seed = seed
        self.reader = TakeReader()
        groups: dict[tuple[float, ...], list[tuple[Take, int, int]]] = {}
        for take in takes:
            key = tuple(take.settings[knob.name] for knob in knobs)
            places = groups.setdefault(key, [])
            places += [
                (take, start, stop) for start, stop in take.spans if stop - start >= segment_samples
            ]
        self.groups = [places for places in groups.values() if places]
        if not self.groups:
            longest = max((b - a for take in takes for a, b in take.spans), default=0)
            raise DataError(
                f"no stretch of the recordings is as long as the {segment_samples} samples of a "
                f"training segment, the longest has {longest}; shorten data.segment_seconds"
            )
        self.powers = [self._power(places) for places in self.groups]

    @property
    def draws_per_epoch(self) -> int:
        """Pieces until everything was seen about once."""
        total = sum(b - a for places in self.groups for _, a, b in places)
        return max(1, total // self.segment_samples)

    def __call__(self, draw: int) -> dict[str, Tensor]:
        """Return a piece that depends on the seed and the number alone."""
        cycle, place = divmod(draw, len(self.groups))
        order = np.random.default_rng((self.seed, cycle)).permutation(len(self.groups))
        rng = np.random.default_rng((self.seed, draw, 1))
        number = int(order[place])
        take, start = self._start(self.groups[number], rng)
        stop = start + self.segment_samples
        return {
            "dry": self.reader.dry(take, start - self.context_samples, stop + self.ahead_samples)[
                None
            ],
            "wet": self.reader.wet(take, start, stop)[None],
            "knobs": settings_to_network(self.knobs, take.settings)[None],
            "power": torch.tensor([self.powers[number]]),
        }

    def _start(
        self, places: Sequence[tuple[Take, int, int]], rng: np.random.Generator
    ) -> tuple[Take, int]:
        """Draw a take and where in it the piece begins, evenly over all that is possible."""
        counts = np.array([b - a - self.segment_samples + 1 for _, a, b in places])
        position = int(rng.integers(counts.sum()))
        index = int(np.searchsorted(np.cumsum(counts), position, side="right"))
        take, start, _ = places[index]
        return take, start + position - int(counts[:index].sum())

    def _power(self, places: Sequence[tuple[Take, int, int]]) -> float:
        energy, count = 0.0, 0
        for take, start, stop in places:
            for begin in range(start, stop, BLOCK_SAMPLES):
                wet = self.reader.wet(take, begin, min(stop, begin + BLOCK_SAMPLES))
                energy += float(wet.double().square().sum())
            count += stop - start
        if energy == 0.0:
            raise DataError(f"the target of take {places[0][0].name!r} is silent; leave it out")
        return energy / count
