"""Training examples: crops of a pool's songs and of rendered ones, remixed.

An example is either a song at one position, all stems aligned, or stems of unrelated origins,
each brought to a drawn level. Most are played at another speed, and so at another pitch. Some
stems are left out, so that the network learns what silence is.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat

from audiform.data.layouts import read_tracks
from audiform.data.pool import BANDS_FILE, FULL_SCALE, SAMPLE_RATE, SOURCES
from audiform.errors import DataError

#: A crop below this RMS counts as silent; another one is drawn then.
SILENT_RMS = 1e-3

#: How often another crop is drawn before a silent one is accepted.
CROP_TRIALS = 5

#: RMS that every stem is brought to before its drawn gain.
REFERENCE_RMS = 0.1


class RemixConfig(BaseModel):
    """What examples are made of. Shares are probabilities, levels are in dB.

    - ``aligned_share``: songs at one position; of those, ``rendered_share`` are rendered ones.
    - ``song_share`` has one entry per source: how often a remixed stem comes from a real song
      rather than from a rendered one.
    - ``speed_share``: how often a stem, or all of an aligned song, is played faster or slower,
      by up to ``most_semitones``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: PositiveFloat = 4.0
    aligned_share: NonNegativeFloat = 0.35
    rendered_share: float = Field(0.5, ge=0, le=1)
    song_share: dict[str, float] = {"drums": 0.3, "bass": 0.3, "other": 0.3, "vocals": 0.35}
    absent_share: dict[str, float] = {"drums": 0.1, "bass": 0.1, "other": 0.08, "vocals": 0.22}
    level_db: dict[str, float] = {"drums": 0.0, "bass": -1.0, "other": 0.0, "vocals": 0.0}
    level_deviation_db: NonNegativeFloat = 4.5
    speed_share: float = Field(0.7, ge=0, le=1)
    most_semitones: float = Field(4.0, ge=0, le=12)


@dataclass(frozen=True)
class Examples:
    """A batch: ``stems`` (batch, sources, 2, time), and where each ends in Hz.

    Above ``band_hz`` a stem of an example holds nothing that was recorded: nothing is to be
    learned there, and all of the example is to be cut. Infinite where that is not so.
    """

    stems: np.ndarray
    band_hz: np.ndarray


@dataclass(frozen=True)
class Stem:
    """A file of a stem: an array of a pool, or audio that can be read from anywhere."""

    path: Path
    band_hz: float = float("inf")


class RemixPool:
    """Draws examples from a pool that :mod:`audiform.data.pool` prepared, and rendered songs.

    ``rendered`` is a folder of songs that :mod:`audiform.data.rendering` wrote. A song that
    lacks a bass may have it inside ``other``: such a song's ``other`` is not used, and the song
    is never used as a whole. Raises :class:`DataError` where a source is nowhere.
    """

    def __init__(self, folder: Path, config: RemixConfig, *, rendered: Path | None = None) -> None:
        self.config = config
        self._open: dict[Path, np.ndarray] = {}
        self._songs: dict[str, list[Stem]] = {source: [] for source in SOURCES}
        self._rendered: dict[str, list[Stem]] = {source: [] for source in SOURCES}
        self._whole: list[list[Stem]] = []
        self._whole_rendered: list[list[Stem]] = []
        for place in sorted((folder / "songs").rglob(BANDS_FILE)):
            bands = json.loads(place.read_text(encoding="utf-8"))
            found = {
                path.stem: Stem(path, bands.get(path.stem, float("inf")))
                for path in sorted(place.parent.glob("*.npy"))
            }
            self._add(found, self._songs, self._whole)
        for track in read_tracks(rendered) if rendered is not None else ():
            files = {name: Stem(refs[0].path) for name, refs in track.stems.items()}
            self._add(files, self._rendered, self._whole_rendered)
        for source in SOURCES:
            if not self._rendered[source] and not self._songs[source]:
                raise DataError(
                    f"there is no {source} in the songs; add songs that have it, or render some "
                    "with audiform data render",
                    path=folder,
                )

    @staticmethod
    def _add(
        found: dict[str, Stem], by_source: dict[str, list[Stem]], whole: list[list[Stem]]
    ) -> None:
        for source in SOURCES:
            if source in found and (source != "other" or "bass" in found):
                by_source[source].append(found[source])
        if set(SOURCES) <= set(found):
            whole.append([found[source] for source in SOURCES])

    def draw(self, rng: np.random.Generator, batch_size: int) -> Examples:
        """Draw a batch of examples; equal generators draw equal batches."""
        length = int(self.config.seconds * SAMPLE_RATE)
        stems = np.zeros((batch_size, len(SOURCES), 2, length), dtype=np.float32)
        band_hz = np.full(batch_size, np.inf)
        whole = self._whole or self._whole_rendered
        for index in range(batch_size):
            draw = self._draw_song if whole and rng.random() < self.config.aligned_share else None
            band_hz[index] = (draw or self._draw_remix)(rng, stems[index])
        return Examples(stems=stems, band_hz=band_hz)

    def _draw_song(self, rng: np.random.Generator, stems: np.ndarray) -> float:
        """Fill ``stems`` with a song at one position; levels move a little, voices up."""
        songs = self._whole or self._whole_rendered
        if self._whole_rendered and self._whole and rng.random() < self.config.rendered_share:
            songs = self._whole_rendered
        song = songs[int(rng.integers(len(songs)))]
        length, speed = stems.shape[-1], self._draw_speed(rng)
        shortest = min(self._length(stem) for stem in song)
        start = int(rng.integers(max(1, shortest - _read_samples(length, speed))))
        for index, source in enumerate(SOURCES):
            crop = self._crop(song[index], start, length, speed)
            gain_db = rng.normal(0.0, 2.5)
            if source == "vocals" and songs is self._whole:
                gain_db += rng.uniform(0.0, 10.0)
            stems[index, :, : crop.shape[1]] = crop * np.float32(10.0 ** (gain_db / 20.0))
        return min(stem.band_hz for stem in song) * speed

    def _draw_remix(self, rng: np.random.Generator, stems: np.ndarray) -> float:
        """Fill ``stems`` with unrelated origins; return where the first of them ends."""
        config = self.config
        band_hz = float("inf")
        absent = [source for source in SOURCES if rng.random() < config.absent_share[source]]
        if len(absent) == len(SOURCES):
            absent = absent[1:]
        for index, source in enumerate(SOURCES):
            if source in absent:
                continue
            songs, rendered = self._songs[source], self._rendered[source]
            use_song = songs and (not rendered or rng.random() < config.song_share[source])
            choices = songs if use_song else rendered
            ends_hz, crop, rms = self._draw_crop(rng, choices, stems.shape[-1])
            gain_db = config.level_db[source] + rng.normal(0.0, config.level_deviation_db)
            gain = REFERENCE_RMS / max(rms, SILENT_RMS) * 10.0 ** (gain_db / 20.0)
            stems[index, :, : crop.shape[1]] = crop * np.float32(gain)
            band_hz = min(band_hz, ends_hz)
        return band_hz

    def _draw_speed(self, rng: np.random.Generator) -> float:
        semitones = rng.uniform(-self.config.most_semitones, self.config.most_semitones)
        return float(2.0 ** (semitones / 12.0)) if rng.random() < self.config.speed_share else 1.0

    def _draw_crop(
        self, rng: np.random.Generator, choices: list[Stem], length: int
    ) -> tuple[float, np.ndarray, float]:
        """Return where a stem ends in Hz, a crop of it (2, time) and its RMS.

        Silent ones are drawn again.
        """
        for _ in range(CROP_TRIALS):
            stem, speed = choices[int(rng.integers(len(choices)))], self._draw_speed(rng)
            latest = self._length(stem) - _read_samples(length, speed)
            crop = self._crop(stem, int(rng.integers(max(1, latest))), length, speed)
            rms = float(np.sqrt(np.mean(np.square(crop)))) if crop.size else 0.0
            if rms > SILENT_RMS:
                break
        return stem.band_hz * speed, crop, rms

    def _length(self, stem: Stem) -> int:
        if stem.path.suffix == ".npy":
            return len(self._array(stem.path))
        return int(soundfile.info(stem.path).frames)

    def _crop(self, stem: Stem, start: int, length: int, speed: float) -> np.ndarray:
        """Return (2, time): ``length`` samples, or fewer where the stem ends, at a speed."""
        audio = self._read(stem, start, _read_samples(length, speed))
        if speed == 1.0 or not audio.size:
            return audio
        faster = soxr.resample(audio.T, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ")
        return np.asarray(faster.T[:, :length], dtype=np.float32)

    def _read(self, stem: Stem, start: int, length: int) -> np.ndarray:
        """Return (2, time)."""
        if stem.path.suffix == ".npy":
            integers = self._array(stem.path)[start : start + length].T
            return np.asarray(integers, dtype=np.float32) / np.float32(FULL_SCALE)
        audio, _ = soundfile.read(
            stem.path, start=start, frames=length, dtype="float32", always_2d=True
        )
        return np.asarray(audio.T, dtype=np.float32)

    def _array(self, path: Path) -> np.ndarray:
        """Return the file mapped into memory."""
        if path not in self._open:
            self._open[path] = np.load(path, mmap_mode="r")
        return self._open[path]


def _read_samples(length: int, speed: float) -> int:
    """Return how many samples become ``length`` at a speed."""
    return math.ceil(length * speed)
