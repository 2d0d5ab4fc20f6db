"""Crops of aligned tracks, by number: what a training loop reads.

Nothing is decoded that is not asked for (:mod:`audiform.data.decoded`), nothing is random: who
wants random positions gives an offset, so that the draw stays with the caller's generator.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from audiform.data.decoded import DecodedAudio, DecodedCache, OpenFiles
from audiform.data.track import MIXTURE, AudioRef, Track
from audiform.errors import DataError


class Segment(NamedTuple):
    """Where a segment lies: the track's number, and its first sample at the model's rate."""

    track_index: int
    start_samples: int


class SegmentDataset:
    """Segments of ``tracks`` as float32 arrays (sources, audio_channels, time).

    ``sources`` are names of stems, or ``mixture``: the track's file of it, or the sum of its
    stems. Segments have ``segment_seconds`` and follow each other by ``stride_seconds`` (default:
    as long as a segment); the last one ends with the track, a shorter track is followed by
    silence. A track is as long as its longest stem, and an effect's recording as its shortest.
    ``missing`` says what a stem is that a track does not have: an error, or silence.

    Files that cannot be read from the middle are decoded into ``cache_folder`` first
    (``on_progress`` is told files done and files in all); ``cache.size_bytes()`` says how much
    that folder holds. Mono becomes stereo by doubling, stereo mono by its mean.

    Works as a map-style dataset of ``torch.utils.data.DataLoader``, forked or spawned. Raises
    :class:`DataError` for tracks that cannot serve, :class:`AudioError` for broken files.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        sources: Sequence[str],
        *,
        sample_rate: int,
        audio_channels: int,
        segment_seconds: float,
        stride_seconds: float | None = None,
        missing: Literal["error", "silence"] = "error",
        cache_folder: Path | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        stride_seconds = segment_seconds if stride_seconds is None else stride_seconds
        self.tracks = tuple(tracks)
        self.sources = tuple(sources)
        self.sample_rate = sample_rate
        self.audio_channels = audio_channels
        self.segment_samples = round(segment_seconds * sample_rate)
        self.stride_samples = round(stride_seconds * sample_rate)
        if not self.tracks or not self.sources:
            raise DataError(
                f"segments were asked for of {len(self.tracks)} tracks and "
                f"{len(self.sources)} sources; name at least one of each"
            )
        if self.segment_samples < 1 or self.stride_samples < 1:
            raise DataError(
                f"segments of {segment_seconds} s every {stride_seconds} s were asked for; "
                "both must be longer than a sample"
            )
        self.cache = DecodedCache(sample_rate=sample_rate, folder=cache_folder)
        self._references = [
            [_references(track, source, missing) for source in self.sources]
            for track in self.tracks
        ]
        for track, parts in zip(self.tracks, self._references, strict=True):
            if not any(parts):
                raise DataError(
                    f"track {track.name!r} has none of {', '.join(self.sources)}, it has "
                    f"{', '.join(track.stems)}; rename its stems with a mapping, or leave it out"
                )
        every = [ref for parts in self._references for refs in parts for ref in refs]
        self._audio = self.cache.prepare(every, on_progress=on_progress)
        for ref, audio in self._audio.items():
            _check_channels(ref, audio, audio_channels)
        self._lengths = [self._length(index) for index in range(len(self.tracks))]
        counts = [self._num_segments(length) for length in self._lengths]
        self._ends = list(accumulate(counts))
        self._files = OpenFiles()

    def __len__(self) -> int:
        """Return the number of segments of all tracks."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the segment ``index`` as it lies; see :meth:`read`."""
        return self.read(index)

    def locate(self, index: int) -> Segment:
        """Return which track the segment ``index`` is of, and where it starts."""
        if not 0 <= index < len(self):
            raise IndexError(f"segment {index} was asked for, there are {len(self)}")
        track_index = bisect_right(self._ends, index)
        within = index - (self._ends[track_index - 1] if track_index else 0)
        latest = max(0, self._lengths[track_index] - self.segment_samples)
        return Segment(track_index, min(within * self.stride_samples, latest))

    def read(
        self, index: int, *, offset_samples: int = 0, length_samples: int | None = None
    ) -> np.ndarray:
        """Return the segment ``index``, moved by ``offset_samples``, of another length if asked.

        It is kept inside the track where the track is long enough.
        """
        track_index, start = self.locate(index)
        return self.read_track(
            track_index,
            start_samples=start + offset_samples,
            length_samples=self.segment_samples if length_samples is None else length_samples,
        )

    def track_length_samples(self, track_index: int) -> int:
        """Return the length of a track at the model's rate."""
        return self._lengths[track_index]

    def read_track(
        self, track_index: int, *, start_samples: int, length_samples: int
    ) -> np.ndarray:
        """Return a piece of a track, (sources, audio_channels, length_samples).

        A piece that sticks out is moved inside; what a track is too short for is silence.
        """
        latest = max(0, self._lengths[track_index] - length_samples)
        start = min(max(0, start_samples), latest)
        stop = min(length_samples, self._lengths[track_index] - start)
        shape = (len(self.sources), self.audio_channels, length_samples)
        segment = np.zeros(shape, np.float32)
        for source_index, refs in enumerate(self._references[track_index]):
            for ref in refs:
                crop = self._files.read(self._audio[ref], start_samples=start, num_samples=stop)
                segment[source_index, :, :stop] += _to_channels(crop, self.audio_channels)
        return segment

    def _length(self, track_index: int) -> int:
        lengths = [
            max(self._audio[ref].num_samples for ref in refs)
            for refs in self._references[track_index]
            if refs
        ]
        return max(lengths) if self.tracks[track_index].is_sum else min(lengths)

    def _num_segments(self, length: int) -> int:
        beyond_first = max(0, length - self.segment_samples)
        return 1 + -(-beyond_first // self.stride_samples)


def _references(
    track: Track, source: str, missing: Literal["error", "silence"]
) -> tuple[AudioRef, ...]:
    if missing == "silence" and source not in track.stems and source != MIXTURE:
        return ()
    return track.references(source)


def _check_channels(ref: AudioRef, audio: DecodedAudio, audio_channels: int) -> None:
    if audio.num_channels not in (1, audio_channels) and audio_channels != 1:
        raise DataError(
            f"has {audio.num_channels} channels, {audio_channels} were asked for, and which of "
            "them belong together is not for us to guess; mix the file down",
            path=ref.path,
        )


def _to_channels(crop: np.ndarray, audio_channels: int) -> np.ndarray:
    """Bring (channels, time) to ``audio_channels``: one is copied, several become their mean."""
    if len(crop) == audio_channels:
        return crop
    if audio_channels == 1:
        return crop.mean(axis=0, keepdims=True)
    return np.broadcast_to(crop, (audio_channels, crop.shape[1]))
