"""How many faults of recordings `audiform data check` names, and how often it cries wolf.

python benchmarks/data_faults.py [--seed 1] [--only NAME] [--recordings DIR...] [--json FILE]

Sounds, devices and faults share nothing with those of the tests, on which thresholds were set.
What is drawn (device, sound, rate, level, size of the fault) depends on the seed and the name of
the case: another seed is another set. A fault counts as named where a warning or an error has its
cause (of polarity a note); a good recording must raise neither. ``--recordings`` adds folders of
good recordings.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
import scipy.ndimage
import scipy.signal
import soundfile

from audiform.data.check import Report, check_dataset
from audiform.data.findings import Finding, Level

Samples = np.ndarray
Rng = np.random.Generator
Device = Callable[[Samples, int, Rng], Samples]

SECONDS = 7.0


# Sounds: (rng, rate) -> (time), peak 0.7 ---------------------------------------------------------


def strum(rng: Rng, rate: int) -> Samples:
    """Plucked strings: noise in a loop that dulls it."""
    audio = np.zeros(round(SECONDS * rate))
    for start in np.cumsum(rng.uniform(0.08, 0.45, 30)):
        begin = round(start * rate)
        length = min(round(1.4 * rate), len(audio) - begin)
        if length < rate // 10:
            break
        period = round(rate / (98.0 * 2 ** (rng.integers(0, 25) / 12)))
        loop = np.zeros(period + 2)
        loop[0], loop[period], loop[period + 1] = 1.0, -0.498, -0.498
        pluck = np.zeros(length)
        pluck[:period] = rng.normal(size=period)
        audio[begin : begin + length] += rng.uniform(0.3, 1) * scipy.signal.lfilter(
            [1.0], loop, pluck
        )
    return audio


def drum_machine(rng: Rng, rate: int) -> Samples:
    """The same three samples again and again, in a pattern that changes a little."""
    time = np.arange(round(0.35 * rate)) / rate
    kick = np.sin(2 * np.pi * (50 * time + 12 * (1 - np.exp(-30 * time)))) * np.exp(-9 * time)
    snare = (0.6 * rng.normal(size=len(time)) + np.sin(2 * np.pi * 190 * time)) * np.exp(-18 * time)
    hat = np.diff(rng.normal(size=len(time) + 1)) * np.exp(-55 * time)
    step = 60 / rng.uniform(84, 150) / 4
    audio = np.zeros(round(SECONDS * rate))
    for index in range(int(SECONDS / step)):
        place = index % 16
        hits = [(0.9 * kick, place in (0, 6, 10)), (0.6 * snare, place in (4, 12)),
                (0.25 * hat, place % 2 == 0)]  # fmt: skip
        for sound, is_set in hits:
            if is_set != (rng.random() < 0.06):
                begin = round(index * step * rate)
                end = min(len(audio), begin + len(sound))
                audio[begin:end] += rng.uniform(0.85, 1.0) * sound[: end - begin]
    return audio


def voice(rng: Rng, rate: int) -> Samples:
    """Syllables: pulses through three formants, with vibrato and breath between."""
    count = round(SECONDS * rate)
    time = np.arange(count) / rate
    f0 = rng.uniform(110, 240) * 2 ** (0.02 * np.sin(2 * np.pi * 5.3 * time))
    f0 *= 2 ** (np.interp(time, np.arange(0, 9, 0.6), rng.integers(-4, 5, 15)) / 12)
    pulses = np.diff(np.floor(np.cumsum(f0) / rate), prepend=0.0)
    audio = np.zeros(count)
    for start in np.arange(0.1, SECONDS - 0.5, 0.55):
        piece = slice(round(start * rate), round((start + rng.uniform(0.25, 0.5)) * rate))
        part = pulses[piece] + 0.01 * rng.normal(size=len(pulses[piece]))
        for low, high in ((300, 800), (900, 2200), (2300, 3200)):
            centre = rng.uniform(low, high)
            part = part + 0.7 * scipy.signal.lfilter(*scipy.signal.iirpeak(centre, 7, rate), part)
        audio[piece] += part * np.hanning(len(part)) ** 0.5
    return scipy.signal.lfilter(*scipy.signal.butter(1, 900, fs=rate), audio)


def pad(rng: Rng, rate: int) -> Samples:
    """Chords of detuned saws, swelling."""
    time = np.arange(round(SECONDS * rate)) / rate
    audio = np.zeros(len(time))
    for start in np.arange(0, SECONDS, 1.75):
        envelope = np.clip((time - start) / 0.3, 0, 1) * np.clip((start + 2.0 - time) / 0.3, 0, 1)
        for note in rng.choice(24, 4, replace=False):
            hz = 110 * 2 ** (note / 12) * rng.uniform(0.997, 1.003)
            audio += envelope * scipy.signal.sawtooth(2 * np.pi * hz * time)
    return scipy.signal.lfilter(*scipy.signal.butter(2, 3500, fs=rate), audio)


def bass_line(rng: Rng, rate: int) -> Samples:
    """A synthesiser's bass: squares, filtered, with rests."""
    time = np.arange(round(SECONDS * rate)) / rate
    audio = np.zeros(len(time))
    for start in np.arange(0, SECONDS, 0.31):
        if rng.random() < 0.2:
            continue
        since = time - start
        hz = 41.2 * 2 ** (rng.integers(0, 14) / 12)
        envelope = (since > 0) * (since < 0.28) * np.exp(-3 * np.clip(since, 0, 1))
        audio += envelope * np.sign(np.sin(2 * np.pi * hz * since))
    return scipy.signal.lfilter(*scipy.signal.butter(2, 1400, fs=rate), audio)


def test_signal(rng: Rng, rate: int) -> Samples:
    """A sweep, steps of noise and clicks, silence between: what capture programs play."""
    time = np.arange(round(2.0 * rate)) / rate
    sweep = 0.7 * np.sin(2 * np.pi * 30 * (np.exp(3.1 * time) - 1) / 3.1)
    steps = [rng.normal(size=rate // 2) * 10 ** (level / 20) for level in (-40, -28, -18, -10)]
    clicks = np.zeros(rate)
    clicks[rate // 8 :: rate // 4] = 0.7
    gap = np.zeros(rate // 2)
    audio = np.concatenate([clicks, sweep, gap, *steps, gap, 0.3 * rng.normal(size=2 * rate)])
    return np.clip(audio, -0.95, 0.95)[: round(SECONDS * rate)]


SOUNDS: dict[str, Callable[[Rng, int], Samples]] = {
    "strum": strum, "drum machine": drum_machine, "voice": voice, "pad": pad,
    "bass line": bass_line, "test signal": test_signal,
}  # fmt: skip


# Devices: (dry, rate, rng) -> wet --------------------------------------------------------------


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


# Pairs and folders ---------------------------------------------------------------------------


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


# Faults: (rng, folder) writes one, returns what it was ------------------------------------------


def late(rng: Rng, folder: Path) -> str:
    pair, samples = draw_pair(rng), int(rng.integers(60, 6000))
    pair.wet = moved(pair.wet, samples)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {samples} late"


def late_room(rng: Rng, folder: Path) -> str:
    pair, samples = draw_pair(rng, ("plate", "spring", "chorus")), int(rng.integers(300, 3000))
    pair.wet = moved(pair.wet, samples)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {samples} late"


def early(rng: Rng, folder: Path) -> str:
    pair, samples = draw_pair(rng), int(rng.integers(40, 900))
    pair.wet = moved(pair.wet, -samples)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {samples} early"


def turned(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, ("overdrive", "optical compressor", "crossover", "dark tone"))
    pair.wet = -pair.wet
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def lost_buffer(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    size, at = int(rng.choice([64, 128, 256, 441, 1024])), loud_place(pair.dry, rng, pair.rate)
    pair.wet = np.concatenate([pair.wet[:at], pair.wet[at + size :], np.zeros(size)])
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {size} at {at / pair.rate:.1f} s"


def buffer_put_in(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    size, at = int(rng.choice([128, 512, 2048])), loud_place(pair.dry, rng, pair.rate)
    repeated = [pair.wet[:at], pair.wet[at - size : at], pair.wet[at:]]
    pair.wet = np.concatenate(repeated)[: len(pair.dry)]
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {size} at {at / pair.rate:.1f} s"


def other_clock(rng: Rng, folder: Path) -> str:
    pair, ppm = draw_pair(rng), float(rng.choice([-1, 1]) * rng.uniform(50, 400))
    place = np.arange(len(pair.wet)) * (1 + 1e-6 * ppm)
    spline = scipy.ndimage.map_coordinates(pair.wet, [place], order=5, mode="nearest")
    pair.wet = spline
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {ppm:.0f} ppm"


def wandering_tape(rng: Rng, folder: Path) -> str:
    """A machine whose delay is long and moves as the tape runs unevenly."""
    pair = draw_pair(rng, ("biased amplifier", "dark tone", "hissing amplifier", "crossover"))
    time = np.arange(len(pair.wet)) / pair.rate
    swing, hz = rng.uniform(8, 25), rng.uniform(0.3, 1.1)
    waves = swing * np.sin(2 * np.pi * hz * time) + 0.3 * swing * np.sin(
        2 * np.pi * 3.1 * hz * time
    )
    waves += 0.5 * swing * np.sin(2 * np.pi * 0.13 * time + 1)
    lag = rng.uniform(2000, 7000)
    place = np.arange(len(pair.wet)) - lag - waves
    pair.wet = scipy.ndimage.map_coordinates(pair.wet, [place], order=5, mode="constant")
    pair.wet = pair.wet + 1e-4 * rng.normal(size=len(pair.wet))
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, by {np.ptp(waves):.0f} samples"


def wrong_header(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    up, down = ((160, 147), (147, 160))[int(rng.integers(2))]
    pair.wet = scipy.signal.resample_poly(pair.wet, up, down)
    pair.wet *= min(1.0, 0.97 / np.abs(pair.wet).max())
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {up}/{down}"


def two_rates(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.wet_rate = 96000
    pair.wet = scipy.signal.resample(pair.wet, round(len(pair.wet) * 96000 / pair.rate))
    pair.wet *= min(1.0, 0.97 / np.abs(pair.wet).max())
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def cut_short(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.wet = pair.wet[: -round(rng.uniform(0.5, 2) * pair.rate)]
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def target_drops_out(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, sounds=("strum", "drum machine", "pad", "bass line"))
    at, length = loud_place(pair.dry, rng, pair.rate), int(rng.choice([256, 1024, 4000]))
    pair.wet[at : at + length] = 0
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {length} at {at / pair.rate:.1f} s"


def input_drops_out(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, sounds=("strum", "pad", "bass line"))
    at, length = loud_place(pair.dry, rng, pair.rate), int(rng.choice([256, 1024, 4000]))
    pair.dry = pair.dry.copy()
    pair.dry[at : at + length] = 0
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {length} at {at / pair.rate:.1f} s"


def hum(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, ("overdrive", "optical compressor", "crossover"))
    time, mains = np.arange(len(pair.wet)) / pair.rate, int(rng.choice([50, 60]))
    level = rng.uniform(0.006, 0.02)
    for harmonic, gain in ((1, 1.0), (2, 0.5), (3, 0.8), (4, 0.2), (5, 0.5), (7, 0.3)):
        pair.wet = pair.wet + level * gain * np.sin(2 * np.pi * mains * harmonic * time + harmonic)
    pair.wet *= min(1.0, 0.97 / np.abs(pair.wet).max())
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {mains} Hz at {level:.3f}"


def hiss(rng: Rng, folder: Path) -> str:
    rate = 44100
    name, dry = draw_sound(rng, rate, ("strum", "voice", "bass line"))
    dry[3 * rate : 4 * rate] = 0
    wet = 0.8 * DEVICES["overdrive"](dry, rate, rng)
    wet = wet + rng.uniform(0.008, 0.02) * rng.normal(size=len(wet))
    write(folder, Pair(dry, np.clip(wet, -0.99, 0.99), rate))
    return f"overdrive, {name}"


def constant_offset(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    offset = float(rng.choice([-1, 1]) * rng.uniform(0.015, 0.06))
    pair.wet = 0.9 * pair.wet + offset
    write(folder, pair)
    return f"{pair.device}, {pair.sound}, {offset:+.3f}"


def clipped_input(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    clean = pair.dry
    pair.dry = np.clip(rng.uniform(2, 5) * clean, -1, 1)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def clipped_target(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, ("optical compressor", "dark tone", "tape echo", "crossover"))
    pair.wet = np.clip(rng.uniform(2, 5) * pair.wet / np.abs(pair.wet).max(), -1, 1)
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def sides_exchanged(rng: Rng, folder: Path) -> str:
    rate = 44100
    name, dry = draw_sound(rng, rate)
    wet = 0.5 * np.tanh(rng.uniform(25, 100) * dry)
    write(folder, Pair(wet, dry, rate))
    return f"fuzz, {name}"


def takes_exchanged(rng: Rng, folder: Path) -> str:
    """Three takes, the targets of two exchanged."""
    pairs = [draw_pair(rng, rate=44100) for _ in range(3)]
    pairs[0].wet, pairs[2].wet = pairs[2].wet, pairs[0].wet
    for index, pair in enumerate(pairs):
        write(folder, pair, prefix=f"take{index}_")
    return ", ".join(f"{pair.device} on {pair.sound}" for pair in pairs)


def other_song(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    name, other = draw_sound(rng, pair.rate)
    wet = DEVICES["overdrive"](other, pair.rate, rng)
    pair.wet = 0.8 * wet / np.abs(wet).max()
    write(folder, pair)
    return f"{pair.sound} against {name}"


def same_setting_twice(rng: Rng, folder: Path) -> str:
    """One input, one setting, two results: something else was turned between them."""
    pair = draw_pair(rng, ("overdrive", "hissing amplifier", "crossover"))
    write(folder, pair, prefix="one_", setting="gain=5")
    pair.wet = 0.7 * np.tanh(12 * pair.wet / np.abs(pair.wet).max())
    write(folder, pair, prefix="two_", setting="gain=5")
    return f"{pair.device}, {pair.sound}"


def settings_without_difference(rng: Rng, folder: Path) -> str:
    """Two settings, one result: one of them was not recorded."""
    pair = draw_pair(rng)
    gain = (2, 5, 8)
    for number in gain:
        wet = 0.5 * np.tanh((5 if number == 8 else number) * pair.dry)
        write(folder, Pair(pair.dry, wet, pair.rate), setting=f"gain={number}")
    return pair.sound


def not_repeatable(rng: Rng, folder: Path) -> str:
    """The same setting recorded twice, the knob a little elsewhere."""
    rate = 44100
    name, dry = draw_sound(rng, rate)
    for take, drive in (("one", 6.0), ("two", 6.0 * rng.uniform(1.6, 2.5))):
        wet = 0.4 * low_passed(np.tanh(drive * dry), 4000, rate)
        write(folder, Pair(dry, wet, rate), prefix=f"{take}_", setting="drive=3")
    return name


def silent_target(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.wet = 0 * pair.wet
    write(folder, pair)
    return pair.sound


def effect_off(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.wet = pair.dry
    write(folder, pair)
    return pair.sound


def dead_channel(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.dry = np.stack([pair.dry, np.roll(pair.dry, 97)])
    pair.wet = np.stack([pair.wet, 0 * pair.wet])
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def torn_file(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    write(folder, pair)
    path = folder / "target.wav"
    data = path.read_bytes()
    path.write_bytes(data[: round(rng.uniform(0.4, 0.9) * len(data))])
    return f"{pair.device}, {pair.sound}"


def no_numbers(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    write(folder, pair)
    wet = pair.wet.astype(np.float32)
    wet[loud_place(pair.dry, rng, pair.rate)] = np.nan
    soundfile.write(folder / "target.wav", wet, pair.rate, subtype="FLOAT")
    return f"{pair.device}, {pair.sound}"


#: Faults and the causes by which they may be called.
FAULTS: dict[str, tuple[Callable[[Rng, Path], str], tuple[str, ...]]] = {
    "late": (late, ("delay",)),
    "late room": (late_room, ("delay",)),
    "early": (early, ("delay",)),
    "turned round": (turned, ("polarity",)),
    "lost buffer": (lost_buffer, ("delay jumps",)),
    "buffer put in": (buffer_put_in, ("delay jumps",)),
    "other clock": (other_clock, ("clock drift",)),
    "wandering tape": (wandering_tape, ("drifting delay",)),
    "wrong header": (wrong_header, ("wrong sample rate",)),
    "two rates": (two_rates, ("rate mismatch",)),
    "cut short": (cut_short, ("length mismatch",)),
    "target drops out": (target_drops_out, ("drop-out",)),
    "input drops out": (input_drops_out, ("drop-out",)),
    "hum": (hum, ("hum",)),
    "hiss": (hiss, ("noise",)),
    "constant offset": (constant_offset, ("DC offset",)),
    "clipped input": (clipped_input, ("clipped",)),
    "clipped target": (clipped_target, ("clipped",)),
    "sides exchanged": (sides_exchanged, ("swapped pair",)),
    "takes exchanged": (takes_exchanged, ("exchanged takes",)),
    "other song": (other_song, ("unrelated pair",)),
    "same setting, other result": (same_setting_twice, ("contradictory knobs", "repeatability")),
    "other setting, same result": (settings_without_difference, ("contradictory knobs",)),
    "not repeatable": (not_repeatable, ("repeatability", "contradictory knobs")),
    "silent target": (silent_target, ("silent target",)),
    "effect off": (effect_off, ("target is input",)),
    "dead channel": (dead_channel, ("dead channel",)),
    "torn file": (torn_file, ("damaged",)),
    "no numbers": (no_numbers, ("NaN or infinity",)),
}

#: Causes that a note is enough for.
NOTES = {"polarity"}


# Good recordings ---------------------------------------------------------------------------------


def good_device(name: str) -> Callable[[Rng, Path], str]:
    def make(rng: Rng, folder: Path) -> str:
        pair = draw_pair(rng, (name,))
        pair.dry = np.clip(pair.dry, -0.98, 0.98)
        write(folder, pair)
        return f"{pair.sound}, {pair.rate} Hz"

    return make


def stereo(rng: Rng, folder: Path) -> str:
    one, two = draw_pair(rng), draw_pair(rng)
    device, rate = one.device, one.rate
    dry = np.stack([one.dry, 0.6 * one.dry + 0.4 * draw_sound(rng, rate)[1][: len(one.dry)]])
    dry *= 0.7 / np.abs(dry).max()
    wet = np.stack([DEVICES[device](channel, rate, np.random.default_rng(1)) for channel in dry])
    write(folder, Pair(dry, 0.8 * wet / np.abs(wet).max(), rate))
    return f"{device}, {one.sound} and {two.sound}"


def from_mono_to_stereo(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng, ("tape echo",))
    other = DEVICES["tape echo"](pair.dry, pair.rate, rng)
    pair.wet = np.stack([pair.wet, 0.8 * other / np.abs(other).max()])
    write(folder, pair)
    return pair.sound


def quiet(rng: Rng, folder: Path) -> str:
    pair = draw_pair(rng)
    pair.dry, pair.wet = 0.02 * pair.dry, 0.02 * pair.wet
    write(folder, pair)
    return f"{pair.device}, {pair.sound}"


def several_settings(rng: Rng, folder: Path) -> str:
    rate = 48000
    name, dry = draw_sound(rng, rate)
    for setting in (1, 4, 7, 10):
        wet = 0.5 * low_passed(np.tanh((1 + setting) * dry), 300 * setting, rate)
        write(folder, Pair(dry, wet, rate), setting=f"tone={setting}")
    return name


def several_takes(rng: Rng, folder: Path) -> str:
    device = str(rng.choice(PLAIN))
    for index in range(3):
        pair = draw_pair(rng, (device,))
        write(folder, pair, prefix=f"take{index}_", setting="gain=3")
    return device


def repeated_take(rng: Rng, folder: Path) -> str:
    """The same setting twice, as well as a device repeats itself."""
    pair = draw_pair(rng, ("overdrive", "biased amplifier", "optical compressor"))
    for take in ("one", "two"):
        noisy = pair.wet + 2e-4 * rng.normal(size=len(pair.wet))
        write(folder, Pair(pair.dry, noisy, pair.rate), prefix=f"{take}_", setting="gain=5")
    return f"{pair.device}, {pair.sound}"


GOOD: dict[str, Callable[[Rng, Path], str]] = {
    **{name: good_device(name) for name in DEVICES},
    "stereo": stereo,
    "mono to stereo": from_mono_to_stereo,
    "quiet": quiet,
    "several settings": several_settings,
    "several takes": several_takes,
    "repeated take": repeated_take,
}


# Scoring ---------------------------------------------------------------------------------------


def alarms(report: Report) -> list[Finding]:
    return [item for item in report.findings if item.level is not Level.note]


def is_named(report: Report, causes: tuple[str, ...]) -> bool:
    return any(
        item.cause in causes and (item.level is not Level.note or item.cause in NOTES)
        for item in report.findings
    )


def check_case(kind: str, name: str, seed: int) -> dict[str, object]:
    rng = np.random.default_rng((seed, zlib.crc32(f"{kind}/{name}".encode())))
    with tempfile.TemporaryDirectory(prefix="audiform-") as place:
        folder = Path(place) / "set"
        make, causes = FAULTS[name] if kind == "broken" else (GOOD[name], ())
        what = make(rng, folder)
        report = check_dataset(folder)
    right = is_named(report, causes) if kind == "broken" else not alarms(report)
    said = sorted({f"{item.cause} ({item.level})" for item in report.findings})
    row = {"kind": kind, "case": name, "what": what, "right": right, "said": said}
    if not right:
        row["messages"] = [str(item).replace(place, "") for item in report.findings]
    return row


def check_recordings(folder: Path) -> dict[str, object]:
    report = check_dataset(folder)
    said = sorted({f"{item.cause} ({item.level})" for item in report.findings})
    return {"kind": "good", "case": folder.name, "what": "recordings", "right": not alarms(report),
            "said": said, "messages": [str(item) for item in report.findings]}  # fmt: skip


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="cases whose names hold this")
    parser.add_argument("--recordings", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    rows = []
    for kind, table in (("broken", FAULTS), ("good", GOOD)):
        for name in table:
            if options.only is None or options.only in name:
                rows.append(check_case(kind, name, options.seed))
                show(rows[-1])
    for folder in options.recordings:
        rows.append(check_recordings(folder))
        show(rows[-1])
    for kind, words in (("broken", "causes named"), ("good", "without alarm")):
        of = [row["right"] for row in rows if row["kind"] == kind]
        print(f"{kind}: {sum(map(bool, of))} of {len(of)} {words}")
    if options.json:
        record = {"seed": options.seed, "commit": measure.commit(), "rows": rows}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


def show(row: dict[str, object]) -> None:
    said = ", ".join(row["said"]) or "nothing"  # type: ignore[call-overload]
    print(f"{'ok ' if row['right'] else 'NOT'} {row['kind']:6} {row['case']:27} "
          f"{row['what']:45} {said}")  # fmt: skip
    if not row["right"]:
        for message in row.get("messages", []):  # type: ignore[attr-defined]
            print(f"        {message}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
