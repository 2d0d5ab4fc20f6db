"""Songs and runs for the tests of recipes: all of it a function of fixed seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from audiform.recipes import (
    EFFECT_RECIPES,
    INVERSE_RECIPES,
    PRETRAINING_RUNS,
    RECIPES,
    SEPARATION_RUNS,
    VOCAL_REMOVAL_RUNS,
)

RATE = 44100
SONG_SECONDS = 4.0
EFFECT_RATE = 8000
STEMS = ("drums", "bass", "other", "vocals")

#: Rounding differs between CPUs, and Adam makes a whole step of a gradient near zero.
TOLERANCE = 2e-3

#: Recipes that train in seconds.
TINY = [name for name in SEPARATION_RUNS if name.endswith("-tiny")]
TINY_VOCAL_REMOVAL = [name for name in VOCAL_REMOVAL_RUNS if name.endswith("-tiny")]
TINY_PRETRAINING = [name for name in PRETRAINING_RUNS if name.endswith("-tiny")]
TINY_EFFECTS = [name for name in EFFECT_RECIPES if name.endswith("-tiny")]
TINY_INVERSE = [name for name in INVERSE_RECIPES if name.endswith("-tiny")]

#: What the tiny fine-tunings begin with: the checkpoint of another tiny recipe.
FIRST_STAGE = {
    "hdemucs-ft-tiny": "hdemucs-tiny",
    "htdemucs-ft-tiny": "htdemucs-tiny",
    "htdemucs-lora-tiny": "htdemucs-tiny",
}


def write_song(folder: Path, seed: int, *, without: str = "") -> None:
    """Write a song of noise bursts, a low tone, a chord and a voice that slides."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(SONG_SECONDS * RATE)) / RATE
    beat = np.exp(-30.0 * (time % 0.25))
    slide = 220.0 * (1 + seed % 3) * (1.0 + 0.1 * np.sin(2 * np.pi * time))
    waves = {
        "drums": 0.3 * rng.normal(size=time.size) * beat,
        "bass": 0.3 * np.sin(2 * np.pi * (50.0 + seed) * time),
        "other": sum(0.1 * np.sin(2 * np.pi * f * time) for f in (330.0, 415.0, 495.0 + seed)),
        "vocals": 0.2 * np.sin(2 * np.pi * np.cumsum(slide) / RATE) * (time % 2 < 1.5),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for number, (stem, wave) in enumerate(waves.items()):
        if stem != without:
            stereo = np.stack([wave, (0.4 + 0.2 * number) * wave], axis=1)
            soundfile.write(folder / f"{stem}.wav", stereo.astype(np.float32), RATE, "PCM_16")


def write_songs(folder: Path) -> Path:
    """Write three whole songs, and one without a bass."""
    for seed, name in enumerate(("one", "two", "three")):
        write_song(folder / name, seed)
    write_song(folder / "no_bass", 7, without="bass")
    return folder


def write_default_data(folder: Path) -> Path:
    """Write songs, and others beside them as if they were rendered."""
    write_songs(folder / "songs")
    for seed in (11, 12):
        write_song(folder / "rendered" / f"song-{seed}", seed)
    return folder


def write_overdrive(folder: Path) -> Path:
    """Write a take of two seconds, and what an overdrive makes of it at two gains."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    swell = 1 + np.sin(2 * np.pi * 3 * np.arange(2 * EFFECT_RATE) / EFFECT_RATE)
    dry = 0.2 * rng.normal(size=swell.size) * swell
    soundfile.write(folder / "input.wav", dry, EFFECT_RATE, "FLOAT")
    for gain in (1, 4):
        wet = np.tanh(gain * np.convolve(dry, (1.0, 0.5))[: dry.size])
        soundfile.write(folder / f"target__gain={gain}.wav", wet, EFFECT_RATE, "FLOAT")
    return folder


def write_notes(folder: Path) -> Path:
    """Write five plucked tones that begin after 50 ms."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(0.8 * RATE)) / RATE
    for number in range(5):
        tone = np.exp(-4 * time) * np.sin(2 * np.pi * (200 + 90 * number) * time)
        audio = np.concatenate([np.zeros(2205), tone]).astype(np.float32)
        soundfile.write(folder / f"note{number}.wav", audio, RATE)
    return folder


def train_tiny(name: str, songs: Path, output: Path, **settings: object) -> Path:
    """Train a tiny recipe, what it begins with first where it needs that."""
    if name in {*TINY_EFFECTS, *TINY_INVERSE, "default-tiny"}:
        return RECIPES[name](songs, output, settings=settings)
    start = None
    if name in FIRST_STAGE:
        first = output.with_name(f"{output.name}-{FIRST_STAGE[name]}")
        one_step = {"training.max_steps": 1, "data.held_out": ("three",)}
        start = str(RECIPES[FIRST_STAGE[name]](songs, first, settings=one_step))
    chosen = {"data.held_out": ("three",), **settings}
    return RECIPES[name](songs, output, start=start, settings=chosen)


def losses(output: Path) -> list[float]:
    """Return the loss of each step from the log of a run."""
    lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]
