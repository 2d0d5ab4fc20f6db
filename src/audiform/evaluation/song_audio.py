"""The audio that a song is scored on, read block by block and as often as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data.segments import SegmentDataset
from audiform.data.track import MIXTURE, Track
from audiform.dsp.stft import StftSpec
from audiform.inference.scratch import ScratchFile
from audiform.metrics.floors import ideal_ratio_mask

#: Length of the blocks that are read and scored at once; the ideal mask is computed within one.
BLOCK_SECONDS = 5

#: Transform of the ideal ratio mask.
IDEAL_MASK_STFT = StftSpec(n_fft=4096, hop_length=1024)

#: What estimates are compared with: doing nothing, and the best soft mask.
FLOORS = ("mixture", "ideal_mask")

#: Gives (sources, channels, count) from a first sample on.
ReadEstimates = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Block:
    """A piece of a song: float32 audio, all of one length.

    ``estimates`` are the estimates and the two floors by name; the mixture, which is the same
    for all sources, has one source. ``is_last`` is true of the block that ends the song.
    """

    reference: Float[Tensor, "sources channels time"]
    estimates: dict[str, Float[Tensor, "_ channels time"]]
    is_last: bool

    @cached_property
    def mixture(self) -> Float[Tensor, "channels time"]:
        """The song itself."""
        return self.estimates["mixture"][0]


class References:
    """A track's true stems and its mixture, at one rate; a stem that it lacks is silent."""

    def __init__(
        self,
        track: Track,
        sources: tuple[str, ...],
        *,
        sample_rate: int,
        audio_channels: int,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
    ) -> None:
        self.name = track.name
        self.sources = sources
        self.sample_rate = sample_rate
        self.num_channels = audio_channels
        self._data = SegmentDataset(
            [track],
            (MIXTURE, *sources),
            sample_rate=sample_rate,
            audio_channels=audio_channels,
            segment_seconds=BLOCK_SECONDS,
            missing="silence",
        )
        whole = self._data.track_length_samples(0)
        self._start = min(whole, round(start_seconds * sample_rate))
        self.num_samples = whole - self._start
        if duration_seconds is not None:
            self.num_samples = min(self.num_samples, round(duration_seconds * sample_rate))

    def read(self, start: int, count: int) -> Float[np.ndarray, "mixture_and_sources channels _"]:
        """Return the mixture, then the stems, from sample ``start`` on."""
        return self._data.read_track(0, start_samples=self._start + start, length_samples=count)

    def blocks(self) -> Iterator[Float[np.ndarray, "channels time"]]:
        """Read the mixture from its start: a track that can be separated."""
        for start, count in self.spans():
            yield self.read(start, count)[0]

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield first sample and length of each block."""
        step = BLOCK_SECONDS * self.sample_rate
        for start in range(0, self.num_samples, step):
            yield start, min(step, self.num_samples - start)


class SongAudio:
    """References and estimates of one song, and its floors, made as they are read.

    ``read_estimates`` gives the estimates from any sample on.
    """

    def __init__(self, references: References, read_estimates: ReadEstimates) -> None:
        self.references = references
        self.read_estimates = read_estimates

    def blocks(self) -> Iterator[Block]:
        """Go through the song from its beginning."""
        for start, count in self.references.spans():
            audio = torch.from_numpy(self.references.read(start, count))
            reference = audio[1:]
            yield Block(
                reference=reference,
                estimates={
                    "estimate": torch.from_numpy(self.read_estimates(start, count)),
                    "mixture": audio[:1],
                    "ideal_mask": ideal_ratio_mask(reference, IDEAL_MASK_STFT),
                },
                is_last=start + count == self.references.num_samples,
            )


def read_scratch(scratch: ScratchFile, *, num_sources: int) -> ReadEstimates:
    """Return a reader of stems that were separated into a temporary file."""

    def read(start: int, count: int) -> np.ndarray:
        rows = scratch.read_span(start, count)
        return rows.reshape(num_sources, -1, count).copy()

    return read
