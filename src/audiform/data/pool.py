"""A pool of prepared songs: decoded once, read by crops after.

Decoding costs more than training on the result, so it is done beforehand, into 16-bit arrays
that are mapped into memory::

    songs/<song>/<source>.npy      stems, aligned with each other
    songs/<song>/bands.json        where stems end that went through a narrow band
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from audiform.data.narrow import band_ends
from audiform.data.segments import SegmentDataset
from audiform.data.track import Track

#: Stems of an example, in their order.
SOURCES = ("drums", "bass", "other", "vocals")

#: Rate of everything in a pool.
SAMPLE_RATE = 44100

#: Full scale of a signed 16-bit sample.
FULL_SCALE = 32767.0

#: Name of the file that says where a song's stems end.
BANDS_FILE = "bands.json"


def prepare_songs(folder: Path, songs: Iterable[Track]) -> None:
    """Write the songs' stems into the pool; what is there already is kept."""
    for song in songs:
        place = folder / "songs" / song.name
        if (place / BANDS_FILE).is_file():
            continue
        sources = [name for name in song.sources if name in SOURCES]
        stems = SegmentDataset(
            [song],
            sources,
            sample_rate=SAMPLE_RATE,
            audio_channels=2,
            segment_seconds=1.0,
            cache_folder=folder / "decoded",
        )
        length = stems.track_length_samples(0)
        audio = stems.read_track(0, start_samples=0, length_samples=length)
        for source, stem in zip(sources, audio, strict=True):
            _write_stem(place / f"{source}.npy", stem.T)
        ends = {source: hz for source, hz in band_ends(stems, 0).items() if np.isfinite(hz)}
        _write_bands(place / BANDS_FILE, ends)


def _write_stem(path: Path, audio: np.ndarray) -> None:
    """Write float (time, 2) as 16-bit integers, aside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        np.save(file, np.round(np.clip(audio, -1.0, 1.0) * FULL_SCALE).astype(np.int16))
    part.replace(path)


def _write_bands(path: Path, bands: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(bands) + "\n", encoding="utf-8")
    part.replace(path)
