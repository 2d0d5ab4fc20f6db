"""A library of single sounds: drum hits, notes, voices, room responses.

A folder with an ``index.csv`` of one line per file. Columns that are used: ``path`` (relative),
``class`` (voices, voices_16k, drums, bass, guitar, keys, other, rir), ``kind`` (kick, snare,
...; singing is a kind that begins with "sung"), ``f0_hz`` (0 where no pitch is known),
``seconds``, ``licence``, and if it is there ``sr``: the rate in Hz at which a file was recorded,
where that is lower than the rate of the file. Others are ignored. Files of one folder are one
instrument, or one kit.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audiform.errors import DataError

#: Rate of everything that the library hands out.
SAMPLE_RATE = 44100

#: Columns that an index must have.
COLUMNS = ("path", "class", "kind", "f0_hz", "seconds", "licence")

#: Classes that mean something; voices_16k are voices without treble.
CLASSES = ("voices", "voices_16k", "drums", "bass", "guitar", "keys", "other", "rir")

#: Decoded sounds that a process keeps.
KEPT_BYTES = 400 * 2**20

#: Lower pitches are not believed.
LOWEST_PITCH_HZ = 20.0


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
    recorded_hz: float | None = None

    @property
    def share_alike(self) -> bool:
        """Whether the licence asks the same licence of what is made from it (BY-SA)."""
        return "BY-SA" in self.licence

    @property
    def is_sung(self) -> bool:
        """Whether it is singing."""
        return self.kind.lower().startswith("sung")

    @property
    def is_pitched(self) -> bool:
        """Whether its pitch is known."""
        return self.f0_hz > LOWEST_PITCH_HZ

    @cached_property
    def band_hz(self) -> float:
        """Frequency above which nothing was recorded: half the rate of the recording."""
        return (self.recorded_hz or soundfile.info(self.path).samplerate) / 2.0


def first_number(text: str) -> float:
    """Return the first of numbers such as 97/114/120 (low, middle, high pitch of a voice)."""
    return float(text.split("/")[0] or 0.0)


class SampleLibrary:
    """Sounds by class and instrument; the last ones decoded are kept in memory.

    Share-alike sounds (CC BY-SA) are left out unless ``share_alike`` is set. Raises
    :class:`DataError` where the index is absent or incomplete, names a class that there is not
    or a file that is not there.
    """

    def __init__(self, folder: Path, *, share_alike: bool = False) -> None:
        index = folder / "index.csv"
        if not index.is_file():
            raise DataError(
                "a folder of sounds is described by its index.csv, and there is none; write one "
                f"with the columns {', '.join(COLUMNS)}, a line for each file",
                path=folder,
            )
        with index.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise DataError(
                    f"the index has no column {missing[0]!r}, it has "
                    f"{', '.join(reader.fieldnames or ()) or 'none'}; it needs "
                    f"{', '.join(COLUMNS)}",
                    path=index,
                )
            found = [_sample(folder, index, number, row) for number, row in enumerate(reader, 2)]
        self.samples = [sample for sample in found if share_alike or not sample.share_alike]
        self.folder = folder
        self._decoded: OrderedDict[Path, np.ndarray] = OrderedDict()

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
        """Return the sound at 44.1 kHz, float32 (1 or 2 channels, time); do not write to it.

        Raises :class:`DataError` for a file that cannot be read.
        """
        if sample.path in self._decoded:
            self._decoded.move_to_end(sample.path)
            return self._decoded[sample.path]
        try:
            audio, rate = soundfile.read(sample.path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DataError(
                f"cannot be decoded ({error}); replace the file, or take its line out of the index",
                path=sample.path,
            ) from error
        if rate != SAMPLE_RATE:
            audio = soxr.resample(audio, rate, SAMPLE_RATE, quality="HQ")
        audio = np.ascontiguousarray(audio.T[:2], dtype=np.float32)
        audio.setflags(write=False)
        self._decoded[sample.path] = audio
        while len(self._decoded) > 1 and self._kept_bytes() > KEPT_BYTES:
            self._decoded.popitem(last=False)
        return audio

    def _kept_bytes(self) -> int:
        return sum(audio.nbytes for audio in self._decoded.values())


def _sample(folder: Path, index: Path, number: int, row: Mapping[str, str | None]) -> Sample:
    """Read line ``number`` of an index."""
    values = {name: value or "" for name, value in row.items() if name is not None}
    path = folder / values["path"]
    if values["class"] not in CLASSES:
        raise DataError(
            f"line {number}: there is no class {values['class']!r}; it is one of "
            f"{', '.join(CLASSES)}",
            path=index,
        )
    if not path.is_file():
        raise DataError(
            f"line {number} names {values['path']}, and there is no such file; put it there, or "
            "take the line out",
            path=index,
        )
    try:
        return Sample(
            path=path,
            sample_class=values["class"],
            instrument="/".join(values["path"].split("/")[:-1]),
            kind=values["kind"],
            f0_hz=first_number(values["f0_hz"]),
            seconds=first_number(values["seconds"]),
            licence=values["licence"],
            recorded_hz=float(values["sr"]) if values.get("sr") else None,
        )
    except ValueError as error:
        raise DataError(
            f"line {number} cannot be read ({error}); f0_hz, seconds and sr are numbers",
            path=index,
        ) from error
