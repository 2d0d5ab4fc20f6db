"""Augmentations one after the other, over a group of examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.augment import AUGMENTATIONS, AugmentStep
from audiform.augment.layout import StemLayout
from audiform.errors import ConfigError


@dataclass(frozen=True)
class AugmentChain:
    """Ordered steps for stems of these ``sources``.

    The leading dimension of the stems is the group of examples that remix exchanges sources
    in; all depends on the generator alone. ``responses`` (response, 1 or channels, taps) are
    the rooms for reverb.
    """

    steps: Sequence[AugmentStep]
    sources: tuple[str, ...]
    sample_rate: int
    responses: Float[Tensor, "response _ taps"] | None = None

    def input_samples(self, samples: int) -> int:
        """Return how long the stems must be to come out with at least ``samples``."""
        for step in reversed(self.steps):
            samples = AUGMENTATIONS[step.kind].input_samples(step, samples, self.sample_rate)
        return samples

    def apply(
        self, stems: Float[Tensor, "batch source channel time"], generator: torch.Generator
    ) -> Float[Tensor, "batch source channel new_time"]:
        """Return the stems after all steps; the caller's tensor is not changed."""
        return self.trace(stems, generator)[0]

    def trace(
        self, stems: Float[Tensor, "batch source channel time"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch source channel new_time"], list[Any]]:
        """Return the stems and what was drawn, step by step, so that it can be repeated."""
        if stems.shape[1] != len(self.sources):
            raise ConfigError(
                f"the chain is for {len(self.sources)} sources {self.sources}, the stems have "
                f"{stems.shape[1]}; give the chain the sources of the dataset"
            )
        drawn = []
        for step in self.steps:
            entry = AUGMENTATIONS[step.kind]
            drawn.append(entry.draw(step, self._layout(stems), generator))
            stems = entry.apply(stems, drawn[-1])
        return stems, drawn

    def repeat(
        self, stems: Float[Tensor, "batch source channel time"], drawn: Sequence[Any]
    ) -> Float[Tensor, "batch source channel new_time"]:
        """Apply what :meth:`trace` has drawn once more."""
        for step, parameters in zip(self.steps, drawn, strict=True):
            stems = AUGMENTATIONS[step.kind].apply(stems, parameters)
        return stems

    def _layout(self, stems: Float[Tensor, "batch source channel time"]) -> StemLayout:
        return StemLayout(
            batch_size=stems.shape[0],
            sources=self.sources,
            audio_channels=stems.shape[2],
            samples=stems.shape[3],
            sample_rate=self.sample_rate,
            responses=self.responses,
        )
