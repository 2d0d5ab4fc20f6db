"""Folders of songs with stems: ``<song>/{drums,bass,other,vocals}.{ogg,wav,flac}``.

The mixture is the sum of the stems. A song may lack a stem: it is silent there, or part of
another one (a bass that was never exported apart from the rest); which of the two it is, only
the person who trains can know, so :class:`Song` says what is missing and takes no sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audiform.errors import DataError

#: What the default model takes a song apart into, in its order.
SOURCES = ("drums", "bass", "other", "vocals")

#: Endings of stems that soundfile reads, in the order of preference.
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


@dataclass(frozen=True)
class Song:
    """One song's stems on disk; ``missing`` are the sources without a file."""

    name: str
    stems: dict[str, Path]
    missing: tuple[str, ...]

    def read(
        self,
        source: str,
        *,
        sample_rate: int,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
    ) -> np.ndarray:
        """Return a stem as float32 (channels 2, time); raises DataError where it is missing."""
        if source not in self.stems:
            raise DataError(
                f"song {self.name!r} has no stem {source!r}, it has {sorted(self.stems)}"
            )
        path = self.stems[source]
        with soundfile.SoundFile(path) as file:
            file.seek(min(file.frames, int(start_seconds * file.samplerate)))
            count = -1 if duration_seconds is None else int(duration_seconds * file.samplerate)
            audio = file.read(count, dtype="float32", always_2d=True)
            rate = file.samplerate
        if rate != sample_rate:
            audio = soxr.resample(audio, rate, sample_rate, quality="HQ")
        if audio.shape[1] == 1:
            audio = np.repeat(audio, 2, axis=1)
        return np.ascontiguousarray(audio[:, :2].T, dtype=np.float32)

    def read_all(
        self,
        sources: Sequence[str],
        *,
        sample_rate: int,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
    ) -> np.ndarray:
        """Return (sources, 2, time); a missing stem is silence, a short one ends in silence."""
        parts = {
            source: self.read(
                source,
                sample_rate=sample_rate,
                start_seconds=start_seconds,
                duration_seconds=duration_seconds,
            )
            for source in sources
            if source in self.stems
        }
        length = max((part.shape[1] for part in parts.values()), default=0)
        stems = np.zeros((len(sources), 2, length), dtype=np.float32)
        for index, source in enumerate(sources):
            if source in parts:
                stems[index, :, : parts[source].shape[1]] = parts[source]
        return stems


def find_songs(folder: Path, sources: Sequence[str] = SOURCES) -> list[Song]:
    """Return the songs in ``folder``, by name.

    A song is a folder with at least one stem named for a source. Raises :class:`DataError`
    where there is none.
    """
    if not folder.is_dir():
        raise DataError("a folder of songs was asked for, found none; check --data", path=folder)
    songs = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        stems = {}
        for source in sources:
            found = [place / f"{source}{suffix}" for suffix in SUFFIXES]
            existing = [path for path in found if path.is_file()]
            if existing:
                stems[source] = existing[0]
        if stems:
            missing = tuple(source for source in sources if source not in stems)
            songs.append(Song(name=place.name, stems=stems, missing=missing))
    if not songs:
        raise DataError(
            f"no song found; expected folders with stems such as <song>/{sources[0]}.wav",
            path=folder,
        )
    return songs
