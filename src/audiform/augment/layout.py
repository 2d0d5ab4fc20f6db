"""What an augmentation is told of the stems before it draws its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

#: A probability.
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class AugmentationConfig(BaseModel):
    """Base of the configurations; ``kind`` names the entry of ``AUGMENTATIONS``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class StemLayout:
    """Size and meaning of stems ``(batch, sources, channels, time)``.

    ``responses`` are the impulse responses ``(response, 1 or channels, taps)`` of rooms.
    """

    batch_size: int
    sources: tuple[str, ...]
    audio_channels: int
    samples: int
    sample_rate: int
    responses: Float[Tensor, "response _ taps"] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Batch size and number of sources: one parameter for each stem."""
        return self.batch_size, len(self.sources)


def draw_chance(
    share: float, shape: tuple[int, ...], generator: torch.Generator
) -> Bool[Tensor, ...]:
    """Return true with probability ``share``."""
    return torch.rand(shape, generator=generator) < share


def draw_uniform(
    limits: tuple[float, float], shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, ...]:
    """Return values spread evenly between two limits."""
    low, high = limits
    return low + (high - low) * torch.rand(shape, generator=generator)


def draw_log_uniform(
    limits: tuple[float, float], shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, ...]:
    """Return values whose logarithms are spread evenly between those of two limits > 0."""
    low, high = torch.tensor(limits).log().tolist()
    return draw_uniform((low, high), shape, generator).exp()
