"""Notes that nobody recorded: detuned oscillators that close, and a falling sine for deep basses.

One period of a wave is made of the harmonics below half the sample rate and read at the speed of
the note, so that nothing folds back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.rendering.samples import SAMPLE_RATE

#: Samples of one period.
TABLE_SIZE = 2048

#: Highest harmonic that is made.
HIGHEST_HZ = 16000.0

WAVES = ("saw", "square", "triangle", "sine", "deep")


@dataclass(frozen=True)
class Patch:
    """A synthesiser's sound.

    ``brightness`` in (0, 1] is the share of harmonics, ``closing_seconds`` how soon the bright
    ones are gone, ``detune_cents`` between ``voices`` oscillators, ``attack_ms`` and
    ``decay_seconds`` of the loudness.
    """

    wave: str
    brightness: float
    closing_seconds: float
    voices: int
    detune_cents: float
    attack_ms: float
    decay_seconds: float


def draw_patch(rng: np.random.Generator, *, bass: bool) -> Patch:
    """Draw a sound; basses have fewer oscillators, and may be the deep one."""
    wave = str(rng.choice(WAVES if bass else WAVES[:-1]))
    return Patch(
        wave=wave,
        brightness=float(rng.uniform(0.08, 1.0) ** 1.5),
        closing_seconds=float(np.exp(rng.uniform(np.log(0.05), np.log(3.0)))),
        voices=1 if bass and rng.random() < 0.7 else int(rng.integers(1, 4)),
        detune_cents=float(rng.uniform(2.0, 22.0)),
        attack_ms=float(np.exp(rng.uniform(np.log(1.0), np.log(8.0 if bass else 120.0)))),
        decay_seconds=float(np.exp(rng.uniform(np.log(0.25), np.log(8.0)))),
    )


def synthesise(patch: Patch, *, f0_hz: float, seconds: float) -> np.ndarray:
    """Return a note (channels, time): one channel for one oscillator, else two."""
    time = np.arange(max(1, round(seconds * SAMPLE_RATE))) / SAMPLE_RATE
    envelope = np.exp(-time / patch.decay_seconds) * np.minimum(
        1.0, time * 1000.0 / patch.attack_ms
    )
    if patch.wave == "deep":
        fall = 1.0 + 1.5 * np.exp(-time / 0.015)
        phase = 2.0 * np.pi * np.cumsum(f0_hz * fall) / SAMPLE_RATE
        return (0.8 * envelope * np.sin(phase)).astype(np.float32)[None]
    bright, dull = _table(patch, f0_hz, 1.0), _table(patch, f0_hz, 0.15)
    opened = np.exp(-time / patch.closing_seconds)
    sides = np.zeros((1 if patch.voices == 1 else 2, len(time)))
    for voice in range(patch.voices):
        detuned = f0_hz * 2.0 ** (patch.detune_cents * (voice - (patch.voices - 1) / 2) / 1200.0)
        place = (time * detuned + 0.37 * voice) % 1.0 * TABLE_SIZE
        left = 1.0 if patch.voices == 1 else 0.25 + 0.5 * voice / (patch.voices - 1)
        wave = opened * _read(bright, place) + (1.0 - opened) * _read(dull, place)
        sides[0] += left * wave
        if patch.voices > 1:
            sides[1] += (1.0 - left) * wave
    return (envelope * sides / patch.voices**0.5).astype(np.float32)


def _read(table: np.ndarray, place: np.ndarray) -> np.ndarray:
    before = place.astype(np.int64)
    share = place - before
    return table[before] * (1.0 - share) + table[before + 1] * share


def _table(patch: Patch, f0_hz: float, opened: float) -> np.ndarray:
    """Return one period and its first sample again."""
    harmonics = max(1, min(int(HIGHEST_HZ / f0_hz), TABLE_SIZE // 8))
    count = max(1, int(harmonics * patch.brightness * opened))
    numbers = np.arange(1, count + 1)
    odd = numbers % 2 == 1
    weights = {
        "saw": 1.0 / numbers,
        "square": odd / numbers,
        "triangle": odd / numbers**2,
        "sine": (numbers == 1).astype(float),
    }[patch.wave]
    spectrum = np.zeros(TABLE_SIZE // 2 + 1, dtype=complex)
    spectrum[1 : count + 1] = -0.5j * TABLE_SIZE * weights
    period = np.fft.irfft(spectrum)
    return np.append(period, period[0]) / np.abs(period).max()
