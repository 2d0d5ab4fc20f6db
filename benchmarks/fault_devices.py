"""Devices that recordings of effects are drawn from: (dry, rate, rng) -> wet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.ndimage
import scipy.signal
from fault_sounds import Rng, Samples

Device = Callable[[Samples, int, Rng], Samples]


def high_passed(x: Samples, hz: float, rate: int) -> Samples:
    return scipy.signal.lfilter(*scipy.signal.butter(1, hz, "high", fs=rate), x)


def low_passed(x: Samples, hz: float, rate: int, order: int = 1) -> Samples:
    return scipy.signal.lfilter(*scipy.signal.butter(order, hz, fs=rate), x)


def followed(x: Samples, rate: int, up_ms: float, down_ms: float) -> Samples:
    """Level with times of its own for rising and falling."""
    up, down = (1 - np.exp(-1000 / (ms * rate)) for ms in (up_ms, down_ms))
    level, out = 0.0, np.empty(len(x))
    for n, value in enumerate(np.abs(x).tolist()):
        level += (up if value > level else down) * (value - level)
        out[n] = level
    return out


def delayed(x: Samples, samples: Samples) -> Samples:
    """Read at places that move."""
    place = np.clip(np.arange(len(x)) - samples, 0, len(x) - 1)
    return np.interp(place, np.arange(len(x)), x)


def convolved(x: Samples, response: Samples) -> Samples:
    return scipy.signal.fftconvolve(x, response)[: len(x)]


def overdrive(x: Samples, rate: int, rng: Rng) -> Samples:
    middle = np.tanh(rng.uniform(20, 60) * high_passed(x, 720, rate))
    return 0.4 * low_passed(middle, 3500, rate) + 0.4 * x


def biased_amplifier(x: Samples, rate: int, rng: Rng) -> Samples:
    """Two lopsided stages without a coupling capacitor at the end: its mean moves with it."""
    bias, gain = rng.uniform(0.3, 0.9), rng.uniform(4, 25)
    first = np.tanh(gain * high_passed(x, 60, rate) + bias) - np.tanh(bias)
    return 0.5 * (np.tanh(2 * first + bias) - np.tanh(bias))


def metal_amplifier(x: Samples, rate: int, rng: Rng) -> Samples:
    driven = np.tanh(rng.uniform(100, 400) * high_passed(x, 400, rate))
    time = np.arange(round(0.02 * rate)) / rate
    box = np.exp(-400 * time) * rng.normal(size=len(time))
    box[0] = 3.0
    return -0.3 * low_passed(convolved(driven, box / np.abs(box).sum() * 4), 4500, rate, 3)


def inverting_preamplifier(x: Samples, rate: int, rng: Rng) -> Samples:
    return -rng.uniform(0.3, 0.9) * np.tanh(1.5 * high_passed(x, 20, rate))


def optical_compressor(x: Samples, rate: int, rng: Rng) -> Samples:
    level = followed(x, rate, rng.uniform(5, 20), rng.uniform(300, 1500))
    over = np.maximum(0, 20 * np.log10(level + 1e-6) - rng.uniform(-45, -30))
    return x * 10 ** (-0.7 * over / 20)


def looking_ahead_limiter(x: Samples, rate: int, rng: Rng) -> Samples:
    """Turned down before the peak comes; its latency is compensated."""
    ahead = round(0.004 * rate)
    ceiling = rng.uniform(0.08, 0.2)
    height = scipy.ndimage.maximum_filter1d(np.abs(x), 2 * ahead + 1)
    gain = np.minimum(1.0, ceiling / np.maximum(height, 1e-9))
    smooth = np.hanning(2 * ahead + 1)
    return x * np.convolve(gain, smooth / smooth.sum(), mode="same")


def square_tremolo(x: Samples, rate: int, rng: Rng) -> Samples:
    wave = np.tanh(6 * np.sin(2 * np.pi * rng.uniform(3, 9) * np.arange(len(x)) / rate))
    return x * (0.52 + 0.48 * wave)


def ring_modulator(x: Samples, rate: int, rng: Rng) -> Samples:
    carrier = np.sin(2 * np.pi * rng.uniform(60, 500) * np.arange(len(x)) / rate)
    return 0.6 * x * carrier + 0.3 * x


def spring(x: Samples, rate: int, rng: Rng) -> Samples:
    """A chain of all-passes whose echoes chirp, beside the dry sound."""
    wet = low_passed(x, 3800, rate, 2)
    for _ in range(40):
        wet = scipy.signal.lfilter([0.6, 1.0], [1.0, 0.6], wet)
    loop = np.zeros(round(rng.uniform(0.03, 0.05) * rate) + 1)
    loop[0], loop[-1] = 1.0, -0.65
    return 0.7 * x + 0.4 * scipy.signal.lfilter([1.0], loop, wet)


def plate(x: Samples, rate: int, rng: Rng) -> Samples:
    """Nine tenths are room, at once and dense."""
    time = np.arange(round(1.5 * rate)) / rate
    room = rng.normal(size=len(time)) * np.exp(-rng.uniform(3, 7) * time)
    room = low_passed(room, 6000, rate)
    return 0.1 * x + 0.9 * convolved(x, room / np.sqrt(np.square(room).sum()))


def tape_echo(x: Samples, rate: int, rng: Rng) -> Samples:
    gap, wet = round(rng.uniform(0.12, 0.4) * rate), x.copy()
    repeat = x
    for _ in range(5):
        repeat = 0.6 * low_passed(np.concatenate([np.zeros(gap), repeat[:-gap]]), 3000, rate)
        wet = wet + repeat
    return 0.7 * wet


def chorus(x: Samples, rate: int, rng: Rng) -> Samples:
    time = np.arange(len(x)) / rate
    moved = 0.012 + 0.003 * np.sin(2 * np.pi * rng.uniform(0.4, 1.2) * time)
    return 0.6 * x + 0.4 * delayed(x, moved * rate)


def flanger(x: Samples, rate: int, rng: Rng) -> Samples:
    time = np.arange(len(x)) / rate
    moved = 0.002 + 0.0017 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * time)
    return 0.5 * x + 0.5 * delayed(x, moved * rate)


def auto_wah(x: Samples, rate: int, rng: Rng) -> Samples:
    corner = 300 + rng.uniform(1500, 4000) * followed(x, rate, 5, 120)
    factor = 2 * np.sin(np.pi * np.minimum(corner, 5000) / rate)
    low = band = 0.0
    out = np.empty(len(x))
    for n, (value, f) in enumerate(zip(x.tolist(), factor.tolist(), strict=True)):
        low += f * band
        band += f * (value - low - 0.3 * band)
        out[n] = band
    return 0.5 * out


def dark_tone(x: Samples, rate: int, rng: Rng) -> Samples:
    return low_passed(x, rng.uniform(150, 500), rate, 2)


def telephone(x: Samples, rate: int, rng: Rng) -> Samples:
    return scipy.signal.lfilter(*scipy.signal.butter(3, (300, 3400), "band", fs=rate), x)


def sampler(x: Samples, rate: int, rng: Rng) -> Samples:
    """Holds every fifth sample, with few bits."""
    held = np.repeat(x[::5], 5)[: len(x)]
    return np.round(held * 40) / 40


def noise_gate(x: Samples, rate: int, rng: Rng) -> Samples:
    level = followed(x, rate, 1, 60)
    return x * low_passed((level > rng.uniform(0.02, 0.06)).astype(float), 80, rate)


def hissing_amplifier(x: Samples, rate: int, rng: Rng) -> Samples:
    """An amplifier as they are: hiss 66 dB below what is played."""
    return 0.5 * np.tanh(4 * x) + 2.5e-4 * rng.normal(size=len(x))


def crossover(x: Samples, rate: int, rng: Rng) -> Samples:
    dead = rng.uniform(0.005, 0.02)
    return x - np.clip(x, -dead, dead)


def octave_and_dry(x: Samples, rate: int, rng: Rng) -> Samples:
    return 0.5 * x + 0.5 * high_passed(np.abs(x), 30, rate)


def three_bands(x: Samples, rate: int, rng: Rng) -> Samples:
    low, rest = low_passed(x, 200, rate), high_passed(x, 200, rate)
    bands = low, low_passed(rest, 2500, rate), high_passed(rest, 2500, rate)
    gains = (np.minimum(1, 0.1 / (followed(band, rate, 8, 150) + 1e-4)) for band in bands)
    return 0.8 * sum(g * band for g, band in zip(gains, bands, strict=True))


def resonant_equaliser(x: Samples, rate: int, rng: Rng) -> Samples:
    for hz in rng.uniform(150, 5000, 3):
        x = x + 4 * scipy.signal.lfilter(*scipy.signal.iirpeak(hz, 8, rate), x)
    return 0.25 * x


def sagging_amplifier(x: Samples, rate: int, rng: Rng) -> Samples:
    """Its bias follows what is played, slowly, and so does its mean."""
    bias = 0.8 * followed(x, rate, 30, 400)
    return 0.5 * np.tanh(8 * x - 3 * bias) + 0.3 * bias


DEVICES: dict[str, Device] = {
    device.__name__.replace("_", " "): device
    for device in (
        overdrive, biased_amplifier, metal_amplifier, inverting_preamplifier, optical_compressor,
        looking_ahead_limiter, square_tremolo, ring_modulator, spring, plate, tape_echo, chorus,
        flanger, auto_wah, dark_tone, telephone, sampler, noise_gate, hissing_amplifier, crossover,
        octave_and_dry, three_bands, resonant_equaliser, sagging_amplifier,
    )
}  # fmt: skip

#: Devices on which every fault can be told: no rooms, no delays of their own.
PLAIN = ("overdrive", "inverting preamplifier", "optical compressor", "dark tone", "crossover",
         "hissing amplifier", "biased amplifier", "resonant equaliser", "tape echo")  # fmt: skip
