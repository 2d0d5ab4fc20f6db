"""``Audio``: samples and their rate, the noun that crosses layers."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from audiform.errors import AudioError


@dataclass(frozen=True, eq=False)
class Audio:
    """A piece of sound in memory.

    ``samples`` are float32, nominally in [-1, 1], of shape (channels, time);
    ``sample_rate`` is in Hz. Raises :class:`AudioError` for another number of axes or
    a rate that is not positive.
    """

    samples: Float[Tensor, "channels time"]
    sample_rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise AudioError(
                f"audio has the shape (channels, time), found {tuple(self.samples.shape)}; "
                "add the missing axis with samples[None] or drop the batch axis"
            )
        if self.sample_rate <= 0:
            raise AudioError(f"the sample rate must be positive, found {self.sample_rate} Hz")

    @property
    def num_channels(self) -> int:
        """Number of audio channels."""
        return self.samples.shape[0]

    @property
    def num_samples(self) -> int:
        """Length in samples."""
        return self.samples.shape[1]

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate
