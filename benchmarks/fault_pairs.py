"""Pairs of a sound and what a device makes of it, and folders of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from fault_devices import DEVICES, PLAIN
from fault_sounds import SOUNDS, Rng, Samples


@dataclass
class Pair:
    """An input and its target (time), or (channels, time), and what both headers say."""

    dry: Samples
    wet: Samples
    rate: int
    wet_rate: int = 0
    device: str = ""
    sound: str = ""


def draw_sound(rng: Rng, rate: int, names: tuple[str, ...] = tuple(SOUNDS)) -> tuple[str, Samples]:
    name = str(rng.choice(names))
    audio = SOUNDS[name](rng, rate)
    return name, 0.7 * audio / np.abs(audio).max()


def draw_pair(
    rng: Rng,
    devices: tuple[str, ...] = PLAIN,
    sounds: tuple[str, ...] = tuple(SOUNDS),
    rate: int = 0,
) -> Pair:
    rate = rate or int(rng.choice([44100, 48000]))
    sound, dry = draw_sound(rng, rate, sounds)
    device = str(rng.choice(devices))
    wet = DEVICES[device](dry, rate, rng)
    wet = wet * min(1.0, rng.uniform(0.6, 0.95) / max(1e-9, float(np.abs(wet).max())))
    return Pair(dry, wet, rate, device=device, sound=sound)


def write(folder: Path, pair: Pair, prefix: str = "", setting: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target = f"{prefix}target{f'__{setting}' if setting else ''}.wav"
    for name, audio, rate in (
        (f"{prefix}input.wav", pair.dry, pair.rate),
        (target, pair.wet, pair.wet_rate or pair.rate),
    ):
        soundfile.write(folder / name, audio.T, rate, subtype="PCM_24")


def moved(audio: Samples, samples: int) -> Samples:
    """Later, of the same length."""
    if samples < 0:
        return np.concatenate([audio[-samples:], np.zeros(-samples)])
    return np.concatenate([np.zeros(samples), audio])[: len(audio)]


def loud_place(audio: Samples, rng: Rng, rate: int) -> int:
    """Somewhere in the middle where it sounds."""
    level = np.convolve(np.abs(audio), np.ones(rate // 50) * 50 / rate, mode="same")
    inside = slice(round(1.5 * rate), len(audio) - round(1.5 * rate))
    good = np.flatnonzero(level[inside] > np.quantile(level[inside], 0.8))
    return round(1.5 * rate) + int(rng.choice(good))
