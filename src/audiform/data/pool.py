"""A pool of prepared songs: decoded and pitch-shifted once, read by crops after.

Decoding and resampling cost more than training on the result, so they are done beforehand, into
16-bit arrays that are mapped into memory::

    songs/<song>/<semitones>/<source>.npy      stems, aligned with each other
    songs/<song>/<semitones>/bands.json        where stems end that went through a narrow band
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soxr
import torch

from audiform.data.segments import SegmentDataset
from audiform.data.track import Track
from audiform.dsp.band_end import band_end_hz

#: Stems of an example, in their order.
SOURCES = ("drums", "bass", "other", "vocals")

#: Rate of everything in a pool.
SAMPLE_RATE = 44100

#: Full scale of a signed 16-bit sample.
FULL_SCALE = 32767.0

#: Name of the file that says where a song's stems end.
BANDS_FILE = "bands.json"

#: So much of a stem's middle is listened to for that.
HEARD_SECONDS = 60.0


def prepare_songs(folder: Path, songs: Iterable[Track], semitones: Iterable[float]) -> None:
    """Write the songs' stems at each pitch (and speed: they are resampled) into the pool."""
    shifts = tuple(semitones)
    for song in songs:
        places = [folder / "songs" / song.name / f"{shift:+g}" for shift in shifts]
        if all((place / BANDS_FILE).is_file() for place in places):
            continue
        bands: dict[str, float] = {}
        for source in (name for name in song.sources if name in SOURCES):
            audio = _whole_stem(song, source, cache_folder=folder / "decoded")
            bands[source] = band_end_hz(_middle(audio), sample_rate=SAMPLE_RATE)
            for place, shift in zip(places, shifts, strict=True):
                # Faster by 2^(n/12) = fewer samples: as if recorded at a higher rate.
                ratio = 2.0 ** (shift / 12.0)
                moved = audio
                if shift:
                    moved = soxr.resample(audio, SAMPLE_RATE * ratio, SAMPLE_RATE, quality="MQ")
                _write_stem(place / f"{source}.npy", moved)
        for place, shift in zip(places, shifts, strict=True):
            ends = {s: hz * 2.0 ** (shift / 12.0) for s, hz in bands.items() if np.isfinite(hz)}
            _write_bands(place / BANDS_FILE, ends)


def _middle(audio: np.ndarray) -> torch.Tensor:
    wanted = round(HEARD_SECONDS * SAMPLE_RATE)
    start = max(0, (len(audio) - wanted) // 2)
    return torch.from_numpy(audio[start : start + wanted].T)


def _write_stem(path: Path, audio: np.ndarray) -> None:
    """Write float (time, 2) as 16-bit integers, aside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".npy.part")
    with part.open("wb") as file:
        np.save(file, np.round(np.clip(audio, -1.0, 1.0) * FULL_SCALE).astype(np.int16))
    part.replace(path)


def _write_bands(path: Path, bands: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(bands) + "\n", encoding="utf-8")
    part.replace(path)


def _whole_stem(song: Track, source: str, *, cache_folder: Path) -> np.ndarray:
    """Return a stem (time, 2)."""
    dataset = SegmentDataset(
        [song],
        [source],
        sample_rate=SAMPLE_RATE,
        audio_channels=2,
        segment_seconds=1.0,
        cache_folder=cache_folder,
    )
    length = dataset.track_length_samples(0)
    return dataset.read_track(0, start_samples=0, length_samples=length)[0].T
