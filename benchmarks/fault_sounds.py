"""Sounds that recordings of effects are drawn from: (rng, rate) -> (time)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal

Samples = np.ndarray
Rng = np.random.Generator

SECONDS = 7.0


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
