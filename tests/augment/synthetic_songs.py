"""Songs whose tempo, beats and key are known: drum patterns, a bass line and chords."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

RATE = 22050

#: Steps of a bar in sixteenths: kick, snare, hat; and ghost notes of the snare.
STYLES = {
    "rock": ("x.......x.......", "....x.......x...", "x.x.x.x.x.x.x.x.", "................"),
    "house": ("x...x...x...x...", "....x.......x...", "..x...x...x...x.", "................"),
    "funk": ("x..x......x..x..", "....x.......x...", "xxxxxxxxxxxxxxxx", "..x....x.x....x."),
    "half": ("x.........x.....", "........x.......", "x.x.x.x.x.x.x.x.", "................"),
    "swing": ("x.......x.......", "....x.......x...", "x...x..xx...x..x", "................"),
    "break": ("x.x.......xx....", "....x..x.x..x..x", "x.x.x.x.x.x.x.x.", "................"),
}
PROGRESSION = ((0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12))


@dataclass(frozen=True)
class SyntheticSong:
    """Stems (channels 1, time), and the truth about them."""

    stems: dict[str, torch.Tensor]
    beats_seconds: np.ndarray
    bpm: float
    key: int


def synthetic_song(
    *,
    bpm: float,
    key: int = 0,
    style: str = "rock",
    seconds: float = 45.0,
    first_seconds: float = 0.7,
    jitter_ms: float = 3.0,
    seed: int = 0,
    drift: float = 0.0,
) -> SyntheticSong:
    """Render a song; ``drift`` is the share by which the tempo grows from start to end."""
    rng = np.random.default_rng(seed)
    length = int(seconds * RATE)
    period = 60.0 / bpm
    number = np.arange(int((seconds - first_seconds) / period))
    stretch = 1.0 - drift * number / max(1, len(number)) / 2
    beats = first_seconds + period * number * stretch
    drums = np.zeros(length + RATE)
    kick, snare, hat, ghost = STYLES[style]
    for index, (beat, after) in enumerate(pairwise(beats)):
        for sixteenth in range(4):
            step = (4 * index + sixteenth) % 16
            place = sixteenth / 4
            if style == "swing" and sixteenth == 3:
                place = 2 / 3
            at = beat + place * (after - beat) + 0.001 * jitter_ms * rng.standard_normal()
            for pattern, hit in (
                (kick, _kick), (snare, _snare), (hat, _hat), (ghost, _ghost)
            ):  # fmt: skip
                if pattern[step] == "x":
                    _add(drums, hit(rng) * rng.uniform(0.8, 1.0), at)
    bass, other = np.zeros(length + RATE), np.zeros(length + RATE)
    for index, beat in enumerate(beats):
        chord = PROGRESSION[index // 4 % 4]
        root = 36 + key + chord[0] % 12
        _add(bass, _note(root, period * 0.9, harmonics=5), beat)
        if index % 4 == 0:
            for offset in chord:
                _add(other, 0.3 * _note(60 + key + offset % 12, 4 * period, harmonics=4), beat)
    stems = {"drums": drums, "bass": 0.5 * bass, "other": other}
    return SyntheticSong(
        {
            name: torch.tensor(audio[:length], dtype=torch.float32)[None]
            for name, audio in stems.items()
        },
        beats,
        bpm,
        key,
    )


def _add(track: np.ndarray, sound: np.ndarray, at_seconds: float) -> None:
    first = max(0, round(at_seconds * RATE))
    part = track[first : first + len(sound)]
    part += sound[: len(part)]


def _kick(rng: np.random.Generator) -> np.ndarray:
    time = np.arange(int(0.2 * RATE)) / RATE
    return np.sin(2 * np.pi * (50 * time + 4 * (1 - np.exp(-40 * time)))) * np.exp(-18 * time)


def _snare(rng: np.random.Generator) -> np.ndarray:
    time = np.arange(int(0.15 * RATE)) / RATE
    body = np.sin(2 * np.pi * 190 * time) * np.exp(-30 * time)
    return 0.4 * body + 0.4 * rng.standard_normal(len(time)) * np.exp(-35 * time)


def _hat(rng: np.random.Generator) -> np.ndarray:
    time = np.arange(int(0.06 * RATE)) / RATE
    return 0.15 * np.diff(rng.standard_normal(len(time) + 1)) * np.exp(-80 * time)


def _ghost(rng: np.random.Generator) -> np.ndarray:
    return 0.15 * _snare(rng)


def _note(midi: int, seconds: float, *, harmonics: int) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    hz = 440.0 * 2 ** ((midi - 69) / 12)
    wave = sum(np.sin(2 * np.pi * n * hz * time + n) / n for n in range(1, harmonics + 1))
    return 0.3 * wave * np.exp(-2 * time) * np.minimum(1.0, (seconds - time) * 50)
