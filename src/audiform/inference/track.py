"""A track to be separated: something that gives the same blocks again, as often as asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32

from audiform.audio import Audio
from audiform.dsp.level import Normalisation
from audiform.errors import AudioError
from audiform.inference.background import in_background
from audiform.io import AudioReader, StreamResampler, resampled_length
from audiform.protocols import SeparationSpec

#: Samples per block between reading, network and writing.
BLOCK_SAMPLES = 1 << 16

#: Blocks of a file that are decoded in advance.
BLOCKS_AHEAD = 4

Block = Float32[np.ndarray, "channels time"]


@runtime_checkable
class Track(Protocol):
    """Audio that can be read again and again, block by block."""

    @property
    def sample_rate(self) -> int:
        """Rate in Hz."""
        ...

    @property
    def num_channels(self) -> int:
        """Number of audio channels."""
        ...

    def blocks(self) -> Iterator[Block]:
        """Read from the start."""
        ...


class FileTrack:
    """A track in a file; raises :class:`AudioError` when it cannot be opened or read."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with AudioReader(self.path) as reader:
            self.info = reader.info
        self.sample_rate = self.info.sample_rate
        self.num_channels = self.info.num_channels

    def blocks(self) -> Iterator[Block]:
        """Read the file from its start, a little ahead of who asks."""
        yield from in_background(self._read(), ahead=BLOCKS_AHEAD)

    def _read(self) -> Iterator[Block]:
        with AudioReader(self.path, block_samples=BLOCK_SAMPLES) as reader:
            yield from reader


class MemoryTrack:
    """A track that is in memory already."""

    def __init__(self, audio: Audio) -> None:
        self._samples = audio.samples.detach().cpu().float().numpy()
        if not np.isfinite(self._samples).all():
            raise AudioError("the audio holds NaN or infinite samples; remove them first")
        self.sample_rate = audio.sample_rate
        self.num_channels = audio.num_channels

    def blocks(self) -> Iterator[Block]:
        """Give out views on the samples."""
        for start in range(0, self._samples.shape[1], BLOCK_SAMPLES):
            yield self._samples[:, start : start + BLOCK_SAMPLES]


@dataclass(frozen=True)
class TrackScan:
    """What the first pass over a track found: its level and its length in samples.

    ``model_samples`` is the length at the model's rate.
    """

    num_samples: int
    model_samples: int
    normalisation: Normalisation


def to_model_channels(block: Block, *, audio_channels: int) -> Block:
    """Bring a block to the number of channels that a model wants: mono is doubled.

    Raises :class:`AudioError` for any other difference: which channels belong together in a
    surround recording is not for us to guess.
    """
    if len(block) == audio_channels:
        return block
    if len(block) == 1:
        return np.repeat(block, audio_channels, axis=0)
    raise AudioError(
        f"the model separates {_channel_name(audio_channels)}, the track has {len(block)} "
        "channels; separate its channels in pairs, or mix them down first"
    )


def _channel_name(count: int) -> str:
    return {1: "mono", 2: "mono or stereo"}.get(count, f"{count} channels")


def scan_track(track: Track, spec: SeparationSpec) -> TrackScan:
    """Read the whole track once, at the model's rate, for the statistic that the model wants.

    Raises :class:`AudioError` for a track that cannot be read to its end, has no samples, or
    more channels than the model takes: all this before the network runs.
    """
    statistic = spec.statistic
    resampler = StreamResampler(
        from_rate_hz=track.sample_rate,
        to_rate_hz=spec.sample_rate,
        num_channels=spec.audio_channels,
    )
    num_samples = 0
    for block in track.blocks():
        num_samples += block.shape[1]
        adapted = to_model_channels(block, audio_channels=spec.audio_channels)
        statistic = statistic.update(torch.from_numpy(resampler.push(adapted)))
    statistic = statistic.update(torch.from_numpy(resampler.finish()))
    if num_samples == 0:
        raise AudioError("the track has no samples")
    return TrackScan(
        num_samples=num_samples,
        model_samples=resampled_length(
            num_samples, from_rate_hz=track.sample_rate, to_rate_hz=spec.sample_rate
        ),
        normalisation=statistic.normalisation(),
    )
