"""A small library and songs of synthetic sounds, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def tone(f0_hz: float, seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * f0_hz * time) * np.exp(-2 * time)).astype(np.float32)


def burst(seconds: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=int(seconds * RATE))
    return (0.2 * noise * np.exp(-20 * np.arange(len(noise)) / RATE)).astype(np.float32)


def speech(f0_hz: float, seconds: float) -> np.ndarray:
    """Return four syllables a second: harmonics below 7 kHz that swell and fall, and a hiss."""
    time = np.arange(int(seconds * RATE)) / RATE
    numbers = np.arange(1, int(7000.0 / f0_hz))
    vowel = sum(np.sin(2 * np.pi * f0_hz * n * time) / n for n in numbers)
    syllable = np.sin(np.pi * 4.0 * time) ** 2
    hiss = 0.003 * np.random.default_rng(0).normal(size=len(time))
    return (0.2 * vowel * syllable + hiss).astype(np.float32)


def write_library(folder: Path) -> Path:
    rows = ["path,class,kind,f0_hz,seconds,licence,sr"]

    def add(path: str, sound: np.ndarray, kind: str, f0: str, licence: str = "CC0") -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, sound, RATE)
        sample_class = path.split("/")[0]
        recorded = 16000 if sample_class == "voices_16k" else ""
        rows.append(
            f"{path},{sample_class},{kind},{f0},{len(sound) / RATE:.3f},{licence},{recorded}"
        )

    for index, kind in enumerate(("kick", "snare", "hat", "crash", "tom", "perc")):
        add(f"drums/kit/{kind}.wav", burst(0.3, index), kind, "")
    for note in range(5):
        f0 = 55.0 * 2 ** (note / 4)
        add(f"bass/one/{note}.wav", tone(f0, 1.0), "note", f"{f0:.2f}")
        add(f"guitar/one/{note}.wav", tone(4 * f0, 1.0), "note", f"{4 * f0:.2f}")
        add(f"keys/one/{note}.wav", tone(6 * f0, 1.0), "note", f"{6 * f0:.2f}")
    add("other/loops/a.wav", tone(700.0, 1.0), "loop", "0.0")
    add("voices/a.wav", speech(330.0, 4.0), "sung", "300/330/350")
    add("voices/b.wav", speech(220.0, 4.0), "speech", "220")
    add("voices/c.wav", speech(220.0, 4.0), "speech", "220", licence="CC BY-SA 4.0")
    add("voices_16k/d.wav", speech(180.0, 4.0), "speech", "180")
    add("rir/hall.wav", burst(0.5, 9), "impulse response", "")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


def narrow_noise(cutoff_hz: float, samples: int) -> np.ndarray:
    spectrum = np.fft.rfft(np.random.default_rng(5).normal(size=samples))
    spectrum[np.fft.rfftfreq(samples, 1 / RATE) > cutoff_hz] = 0.0
    return np.fft.irfft(spectrum, samples)


def write_songs(
    folder: Path, seconds: float = 4.0, *, level: float = 0.1, narrow: str = ""
) -> Path:
    """Write three songs; the stem ``narrow`` is noise that ends at 6 kHz."""
    stems = {"drums": 4000.0, "bass": 60.0, "other": 900.0, "vocals": 300.0}
    for song, missing in (("one", ""), ("two", ""), ("no_bass", "bass")):
        for number, (source, f0) in enumerate(stems.items()):
            if source == missing:
                continue
            time = np.arange(int(seconds * RATE)) / RATE
            wave = level * np.sin(2 * np.pi * f0 * (1 + 0.01 * len(song)) * time + number)
            if source == narrow:
                wave = level * narrow_noise(6000.0, len(time))
            stereo = np.stack([wave, 0.5 * wave], axis=1).astype(np.float32)
            (folder / song).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / song / f"{source}.flac", stereo, RATE)
    return folder
