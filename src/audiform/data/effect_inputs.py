"""Dry sounds to drive an effect with: made up, or cut from recordings.

The made-up ones are those that the published SignalTrain was trained on (arXiv:1905.11928): tones,
plucks, boxes, sweeps, noise. Differs from it in that frequencies are in Hz, where its code took
the numbers for radians a second; that staircases rise in steps of 1 dB of amplitude; and that
tones and plucks are drawn evenly in octaves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.audio import Audio
from audiform.errors import DataError

#: Keeps every clip from being exactly silent anywhere.
NOISE_FLOOR = 1e-8

#: Loudest sample of a clip.
PEAK = 1.0

#: No tone is higher, as a share of the sample rate.
HIGHEST_SHARE = 0.45

Kind = Callable[[np.random.Generator, int, int], np.ndarray]


class DrySource(Protocol):
    """Something that gives dry sound, drawn from ``rng`` alone; picklable."""

    def __call__(
        self, rng: np.random.Generator, *, samples: int, sample_rate: int
    ) -> Float[Tensor, "channels time"]:
        """Return ``samples`` samples at ``sample_rate``, float32."""
        ...


# Kinds ----------------------------------------------------------------------------------------


def sine(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return one or two tones of 5 to 150 Hz, peak 0.6 to 0.9."""
    tones = _tones(rng, samples, sample_rate, count=int(rng.integers(1, 3)), low_hz=5, high_hz=150)
    return tones * (rng.uniform(0.6, 0.9) / np.abs(tones).max())


def noisy_sine(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return :func:`sine` under up to 0.2 of pink and of white noise each."""
    pink_level, white_level = rng.uniform(0.0, 0.2, size=2)
    noise = pink_level * pink_noise(rng, samples) + white_level * rng.uniform(-1, 1, samples)
    return sine(rng, samples, sample_rate) + noise


def pluck(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return one to three tones of 50 to 6400 Hz, soft, then struck and dying away.

    Struck within the first 35 %; decays at 0 to 12 a second.
    """
    tones = _tones(
        rng, samples, sample_rate, count=int(rng.integers(1, 4)), low_hz=50, high_hz=6400
    )
    onset = int(rng.uniform(0.0, 0.35) * samples)
    seconds = (np.arange(samples) - onset) / sample_rate
    ringing = np.exp(-rng.uniform(0.0, 12.0) * np.maximum(seconds, 0.0))
    return tones * np.where(seconds < 0, rng.uniform(0.1, 0.2), ringing) * rng.uniform(0.6, 0.95)


def triangle(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return a rise to 0.4 .. 0.8 and a fall, under pink noise of 0.02 to 0.12."""
    start, top, end = np.sort(rng.uniform(0.0, samples, size=3))
    shape = np.interp(np.arange(samples), [start, top, end], [0.0, rng.uniform(0.4, 0.8), 0.0])
    return shape + rng.uniform(0.02, 0.12) * pink_noise(rng, samples)


def box(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return three levels: 0 .. 0.15, for 30 to 65 % 0.6 .. 0.95, then 0.1 .. 0.3."""
    start = int(rng.uniform(0.0, 0.3) * samples)
    end = start + int(rng.uniform(0.3, 0.65) * samples)
    levels = np.full(samples, rng.uniform(0.1, 0.3))
    levels[:start] = rng.uniform(0.0, 0.15)
    levels[start:end] = rng.uniform(0.6, 0.95)
    return levels


def spikes(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return fifty spikes of up to 0.7, three samples wide, over soft white noise."""
    clip = 0.01 * rng.uniform(-1, 1, samples)
    for place in rng.integers(0, max(1, samples - 2), size=50):
        clip[place : place + 3] = rng.uniform(-0.7, 0.7)
    return clip


def noisy_box(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return white noise at the three levels of :func:`box`."""
    return box(rng, samples, sample_rate) * rng.uniform(-1, 1, samples)


def noisy_pluck(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return :func:`pluck` under pink noise of 0.1 to 0.4."""
    noise = rng.uniform(0.1, 0.4) * pink_noise(rng, samples)
    return pluck(rng, samples, sample_rate) + noise


def staircase(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return a tone of 400 to 5000 Hz that rises to full scale in steps of 1 dB.

    From -30 or -40 dB.
    """
    bottom_db = -30 if rng.random() < 0.5 else -40
    step = np.arange(samples) * (1 - bottom_db) // samples
    tone = _tones(rng, samples, sample_rate, count=1, low_hz=400, high_hz=5000)
    return tone * 10.0 ** ((bottom_db + step) / 20.0)


def sweep(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return a tone from 20 .. 1000 to 1000 .. 20,000 Hz, evenly in octaves; half of them grow."""
    start_hz = _octaves(rng, 20.0, 1000.0)
    end_hz = min(_octaves(rng, 1000.0, 20_000.0), HIGHEST_SHARE * sample_rate)
    hz = start_hz * (end_hz / start_hz) ** (np.arange(samples) / samples)
    tone = np.sin(2 * np.pi * np.cumsum(hz) / sample_rate)
    growth = np.linspace(rng.uniform(0.0, 0.5), 1.0, samples) if rng.random() < 0.5 else 1.0
    return rng.uniform(0.5, 0.95) * tone * growth


def box_and_noise(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return :func:`box` under soft white noise."""
    return box(rng, samples, sample_rate) + 0.05 * rng.uniform(-1, 1, samples)


def pink(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return pink noise with a peak of 0.2 to 0.8."""
    return rng.uniform(0.2, 0.8) * pink_noise(rng, samples)


#: Kinds by name.
KINDS: dict[str, Kind] = {
    "sine": sine,
    "noisy-sine": noisy_sine,
    "pluck": pluck,
    "triangle": triangle,
    "box": box,
    "spikes": spikes,
    "noisy-box": noisy_box,
    "noisy-pluck": noisy_pluck,
    "staircase": staircase,
    "sweep": sweep,
    "box-and-noise": box_and_noise,
    "pink": pink,
}

#: What the published network was trained on when it made its examples itself ...
PUBLISHED_KINDS = ("sine", "noisy-sine", "pluck", "box", "noisy-box", "noisy-pluck")
#: ... and what its files were made of.
PUBLISHED_FILE_KINDS = (*PUBLISHED_KINDS, "staircase", "sweep")


# What kinds are made of -----------------------------------------------------------------------


def pink_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return noise of equal power in every octave, with a peak of 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[0] = 0.0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, samples)
    return noise / (np.abs(noise).max() + NOISE_FLOOR)


def _tones(
    rng: np.random.Generator,
    samples: int,
    sample_rate: int,
    *,
    count: int,
    low_hz: float,
    high_hz: float,
) -> np.ndarray:
    """Return the mean of ``count`` sines of drawn frequency and phase."""
    seconds = np.arange(samples) / sample_rate
    highest = HIGHEST_SHARE * sample_rate
    hz = [min(_octaves(rng, low_hz, high_hz), highest) for _ in range(count)]
    phases = rng.uniform(0.0, 2 * np.pi, size=count)
    return np.mean(
        [np.sin(2 * np.pi * f * seconds + p) for f, p in zip(hz, phases, strict=True)], axis=0
    )


def _octaves(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())


# Sources --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SyntheticDry:
    """Clips of drawn ``kinds``, one after the other, of random polarity; one channel.

    A clip lasts ``clip_samples``, or as long as what is asked for. ``mixed_share`` of them are
    the mean of two. Raises :class:`DataError` for a kind that is not there.
    """

    kinds: tuple[str, ...] = PUBLISHED_KINDS
    clip_samples: int | None = None
    mixed_share: float = 0.0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise DataError(
                f"there is no kind of dry sound {', '.join(unknown) or '(none was named)'}; "
                f"choose from {', '.join(KINDS)}"
            )
        if self.clip_samples is not None and self.clip_samples < 1:
            raise DataError(f"clips of {self.clip_samples} samples were asked for; at least 1")

    def __call__(
        self, rng: np.random.Generator, *, samples: int, sample_rate: int
    ) -> Float[Tensor, "1 time"]:
        """Return ``samples`` samples at ``sample_rate``."""
        size = self.clip_samples or samples
        clips = [self._clip(rng, size, sample_rate) for _ in range(math.ceil(samples / size))]
        joined = np.concatenate(clips)[:samples]
        return torch.from_numpy(joined.astype(np.float32))[None]

    def _clip(self, rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
        number = 2 if rng.random() < self.mixed_share else 1
        names = rng.choice(len(self.kinds), size=number)
        drawn = [KINDS[self.kinds[name]](rng, samples, sample_rate) for name in names]
        clip = np.mean(drawn, axis=0) * rng.choice([-1.0, 1.0])
        clip = clip + NOISE_FLOOR * rng.standard_normal(samples)
        return clip * (PEAK / max(PEAK, float(np.abs(clip).max())))


@dataclass(frozen=True, eq=False)
class RecordedDry:
    """Pieces of recordings, of random polarity and of a level drawn in dB.

    Longer recordings are cut more often. All have one number of channels and one sample rate,
    and none is shorter than what is asked for; raises :class:`DataError`.
    """

    recordings: tuple[Audio, ...]
    gain_db: tuple[float, float] = (-12.0, 0.0)

    def __post_init__(self) -> None:
        found = {(audio.num_channels, audio.sample_rate) for audio in self.recordings}
        if len(found) != 1:
            raise DataError(
                f"recordings must share their channels and sample rate, found "
                f"{sorted(found) or 'none'}; bring them to one"
            )

    def __call__(
        self, rng: np.random.Generator, *, samples: int, sample_rate: int
    ) -> Float[Tensor, "channels time"]:
        """Return ``samples`` samples at ``sample_rate``, that of the recordings."""
        places = np.array([audio.num_samples - samples + 1 for audio in self.recordings])
        if places.min() < 1 or sample_rate != self.recordings[0].sample_rate:
            raise DataError(
                f"{samples} samples at {sample_rate} Hz were asked for; the recordings have "
                f"{self.recordings[0].sample_rate} Hz and the shortest "
                f"{places.min() + samples - 1} samples"
            )
        audio = self.recordings[rng.choice(len(places), p=places / places.sum())]
        start = int(rng.integers(audio.num_samples - samples + 1))
        gain = float(rng.choice([-1.0, 1.0])) * 10.0 ** (rng.uniform(*self.gain_db) / 20.0)
        return gain * audio.samples[:, start : start + samples]
