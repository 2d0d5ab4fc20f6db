"""Training examples: crops of a pool's stems, remixed.

An example is either a real song at one position, all stems aligned, or stems of unrelated
origins, each brought to a drawn level. Some stems are left out, so that the network learns
what silence is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat

from audiform.data.pool import FULL_SCALE, SOURCES
from audiform.data.samples import SAMPLE_RATE
from audiform.errors import DataError

#: A crop below this RMS counts as silent; another one is drawn then.
SILENT_RMS = 1e-3

#: How often another crop is drawn before a silent one is accepted.
CROP_TRIALS = 5

#: RMS that every stem is brought to before its drawn gain.
REFERENCE_RMS = 0.1


class RemixConfig(BaseModel):
    """What examples are made of. Shares are probabilities, levels are in dB.

    ``song_share`` has one entry per source: how often a remixed stem comes from a real song
    rather than from the rendered pool.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: PositiveFloat = 4.0
    aligned_share: NonNegativeFloat = 0.2
    song_share: dict[str, float] = {"drums": 0.3, "bass": 0.3, "other": 0.3, "vocals": 0.35}
    lowband_share: NonNegativeFloat = 0.12
    absent_share: dict[str, float] = {"drums": 0.1, "bass": 0.1, "other": 0.08, "vocals": 0.22}
    level_db: dict[str, float] = {"drums": 0.0, "bass": -1.0, "other": 0.0, "vocals": 0.0}
    level_deviation_db: NonNegativeFloat = 4.5


@dataclass(frozen=True)
class Examples:
    """A batch: ``stems`` (batch, sources, 2, time) and whether each holds no treble at all."""

    stems: np.ndarray
    lowband: np.ndarray


class RemixPool:
    """Draws examples from a pool that :mod:`audiform.data.pool` prepared.

    A song that lacks a bass may have it inside ``other``: such a song's ``other`` is not used,
    and the song is never used as a whole. Call :meth:`rescan` to see stems that were rendered
    since.
    """

    def __init__(self, folder: Path, config: RemixConfig) -> None:
        self.folder = folder
        self.config = config
        self._open: dict[Path, np.ndarray] = {}
        self.rescan()

    def rescan(self) -> None:
        """List the pool's files anew."""
        self._songs: dict[str, list[Path]] = {source: [] for source in SOURCES}
        self._whole: list[Path] = []
        for place in sorted((self.folder / "songs").glob("*/*")):
            present = {path.stem for path in place.glob("*.npy")}
            for source in present & set(SOURCES):
                if source != "other" or "bass" in present:
                    self._songs[source].append(place / f"{source}.npy")
            if present >= set(SOURCES):
                self._whole.append(place)
        kinds = (*SOURCES, "vocals_lowband")
        rendered = self.folder / "rendered"
        self._rendered = {kind: sorted((rendered / kind).glob("*.npy")) for kind in kinds}
        self._rendered["vocals"] += sorted((rendered / "vocals_sung").glob("*.npy"))
        for source in SOURCES:
            if not self._rendered[source] and not self._songs[source]:
                raise DataError(f"the pool has no {source}; render it first", path=self.folder)

    def draw(self, rng: np.random.Generator, batch_size: int) -> Examples:
        """Draw a batch of examples; equal generators draw equal batches."""
        length = int(self.config.seconds * SAMPLE_RATE)
        stems = np.zeros((batch_size, len(SOURCES), 2, length), dtype=np.float32)
        lowband = np.zeros(batch_size, dtype=bool)
        for index in range(batch_size):
            if self._whole and rng.random() < self.config.aligned_share:
                self._draw_song(rng, stems[index])
            else:
                lowband[index] = self._draw_remix(rng, stems[index])
        return Examples(stems=stems, lowband=lowband)

    def _draw_song(self, rng: np.random.Generator, stems: np.ndarray) -> None:
        """Fill ``stems`` with a song at one position; levels move a little, voices up."""
        place = self._whole[int(rng.integers(len(self._whole)))]
        arrays = [self._array(place / f"{source}.npy") for source in SOURCES]
        length = stems.shape[-1]
        start = int(rng.integers(max(1, min(len(array) for array in arrays) - length)))
        for index, source in enumerate(SOURCES):
            crop = arrays[index][start : start + length].T.astype(np.float32) / FULL_SCALE
            gain_db = rng.normal(0.0, 2.5) + (rng.uniform(0.0, 10.0) if source == "vocals" else 0.0)
            stems[index, :, : crop.shape[1]] = crop * np.float32(10.0 ** (gain_db / 20.0))

    def _draw_remix(self, rng: np.random.Generator, stems: np.ndarray) -> bool:
        """Fill ``stems`` with unrelated origins; return whether the voice lacks treble."""
        config = self.config
        lowband = False
        absent = [source for source in SOURCES if rng.random() < config.absent_share[source]]
        if len(absent) == len(SOURCES):
            absent = absent[1:]
        for index, source in enumerate(SOURCES):
            if source in absent:
                continue
            songs, rendered = self._songs[source], self._rendered[source]
            if source == "vocals" and rng.random() < config.lowband_share:
                lowband = bool(self._rendered["vocals_lowband"])
                if lowband:
                    songs, rendered = [], self._rendered["vocals_lowband"]
            use_song = songs and (not rendered or rng.random() < config.song_share[source])
            paths = songs if use_song else rendered
            crop, rms = self._draw_crop(rng, paths, stems.shape[-1])
            gain_db = config.level_db[source] + rng.normal(0.0, config.level_deviation_db)
            gain = REFERENCE_RMS / max(rms, SILENT_RMS) * 10.0 ** (gain_db / 20.0)
            stems[index, :, : crop.shape[1]] = crop * np.float32(gain)
        return lowband

    def _draw_crop(
        self, rng: np.random.Generator, paths: list[Path], length: int
    ) -> tuple[np.ndarray, float]:
        """Return a crop (2, time) and its RMS; silent ones are drawn again."""
        crop, rms = np.zeros((2, 0), dtype=np.float32), 0.0
        for _ in range(CROP_TRIALS):
            array = self._array(paths[int(rng.integers(len(paths)))])
            start = int(rng.integers(max(1, len(array) - length)))
            crop = array[start : start + length].T.astype(np.float32) / FULL_SCALE
            rms = float(np.sqrt(np.mean(np.square(crop)))) if crop.size else 0.0
            if rms > SILENT_RMS:
                break
        return crop, rms

    def _array(self, path: Path) -> np.ndarray:
        """Return the file mapped into memory."""
        if path not in self._open:
            self._open[path] = np.load(path, mmap_mode="r")
        return self._open[path]
