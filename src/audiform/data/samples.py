"""A library of single sounds: drum hits, notes, phrases of voices, room responses.

A folder with an ``index.csv`` of one line per file. Columns used: ``path`` (relative),
``class`` (voices, voices_16k, drums, bass, guitar, keys, other, rir), ``kind`` (kick, snare,
...), ``f0_hz`` (0 where no pitch is known), ``seconds``, ``licence``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audiform.errors import DataError

#: Rate of everything that the library hands out.
SAMPLE_RATE = 44100


@dataclass(frozen=True)
class Sample:
    """One line of the index."""

    path: Path
    sample_class: str
    instrument: str
    kind: str
    f0_hz: float
    seconds: float
    licence: str

    @property
    def share_alike(self) -> bool:
        """Whether the licence asks the same licence of what is made from it (BY-SA)."""
        return "BY-SA" in self.licence


def _first_number(text: str) -> float:
    """Return the first of numbers such as 97/114/120 (low, middle, high pitch of a voice)."""
    return float(text.split("/")[0] or 0.0)


class SampleLibrary:
    """Sounds by class and instrument; decoded once, kept in memory.

    Share-alike sounds (CC BY-SA) are left out unless ``share_alike`` is set. Raises
    :class:`DataError` where the index is absent or incomplete.
    """

    def __init__(self, folder: Path, *, share_alike: bool = False) -> None:
        index = folder / "index.csv"
        if not index.is_file():
            raise DataError(
                "a sample library has an index.csv, found none; see audiform.data.samples",
                path=folder,
            )
        self.samples: list[Sample] = []
        with index.open(newline="") as file:
            for row in csv.DictReader(file):
                try:
                    sample = Sample(
                        path=folder / row["path"],
                        sample_class=row["class"],
                        instrument="/".join(row["path"].split("/")[:-1]),
                        kind=row["kind"],
                        f0_hz=_first_number(row["f0_hz"]),
                        seconds=_first_number(row["seconds"]),
                        licence=row["licence"],
                    )
                except (KeyError, ValueError) as error:
                    raise DataError(
                        f"line {row} of the index cannot be read ({error}); "
                        "it needs path, class, kind, f0_hz, seconds, licence",
                        path=index,
                    ) from error
                if share_alike or not sample.share_alike:
                    self.samples.append(sample)
        self._decoded: dict[Path, np.ndarray] = {}

    def of_class(self, *sample_classes: str) -> list[Sample]:
        """Return the sounds of these classes, in the index' order."""
        return [sample for sample in self.samples if sample.sample_class in sample_classes]

    def instruments(self, *sample_classes: str) -> dict[str, list[Sample]]:
        """Return the sounds of these classes by instrument (their folder)."""
        found: dict[str, list[Sample]] = {}
        for sample in self.of_class(*sample_classes):
            found.setdefault(sample.instrument, []).append(sample)
        return found

    def decode(self, sample: Sample) -> np.ndarray:
        """Return the sound at 44.1 kHz, float32 (time, 2); do not write to it."""
        if sample.path not in self._decoded:
            audio, rate = soundfile.read(sample.path, dtype="float32", always_2d=True)
            if rate != SAMPLE_RATE:
                audio = soxr.resample(audio, rate, SAMPLE_RATE, quality="HQ")
            if audio.shape[1] == 1:
                audio = np.repeat(audio, 2, axis=1)
            audio = np.ascontiguousarray(audio[:, :2], dtype=np.float32)
            audio.setflags(write=False)
            self._decoded[sample.path] = audio
        return self._decoded[sample.path]
