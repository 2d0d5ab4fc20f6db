"""Songs of noise at a low rate, and estimates of them, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 8000
STEMS = ("drums", "bass", "other", "vocals")


def noise(seconds: float, seed: int) -> np.ndarray:
    """Return stereo noise (time, channels) of 16 bits, of a colour of its own."""
    white = np.random.RandomState(seed).standard_normal((round(seconds * RATE), 2))
    white[1:] += 0.2 * (seed % 4) * white[:-1]
    return np.round(3000 * white).clip(-32768, 32767) / 32768


def write_song(folder: Path, *, seconds: float = 3.5, stems=STEMS, seed: int = 0) -> Path:
    """Write a song's stems; vocals are silent in the second second."""
    folder.mkdir(parents=True)
    for number, stem in enumerate(stems):
        audio = noise(seconds, seed + number)
        if stem == "vocals":
            audio[RATE : 2 * RATE] = 0
        soundfile.write(folder / f"{stem}.wav", audio, RATE, "PCM_16")
    return folder


def write_estimates(references: Path, folder: Path, *, leak: float = 0.1) -> Path:
    """Write an estimate of each stem: it, and a share of all others."""
    folder.mkdir(parents=True)
    stems = {path.name: soundfile.read(path)[0] for path in references.glob("*.wav")}
    for name, audio in stems.items():
        others = sum(other for known, other in stems.items() if known != name)
        soundfile.write(folder / name, audio + leak * others, RATE, "FLOAT")
    return folder
