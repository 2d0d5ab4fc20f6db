"""Noises to be taken away: of any colour, steady or swelling."""

from __future__ import annotations

import numpy as np

from audiform.data.effect_inputs import pink_noise

#: Slope of a drawn spectrum in dB an octave.
SLOPE_DB = (-6.0, 6.0)

#: Hills and valleys of a drawn spectrum: how many, how high in dB, how wide in octaves.
NUM_HILLS, HILL_DB, HILL_OCTAVES = 4, 9.0, (0.3, 1.5)

#: Lowest frequency that is told apart.
LOWEST_HZ = 30.0

#: How much a swelling noise moves up and down in dB, and how often a second.
SWELL_DB, SWELLS_HZ = 8.0, (0.5, 8.0)

#: Share of drawn noises that swell, and of those that have nothing outside a band.
SWELLING_SHARE, BANDED_SHARE = 0.4, 0.3

#: Such a band is at least so many octaves wide.
LEAST_OCTAVES = 1.5


def white_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return uniform noise in [-1, 1], as the published denoiser was trained on."""
    return rng.uniform(-1.0, 1.0, samples)


def coloured_noise(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return noise with a drawn slope, hills and valleys; some swells, some ends at a band."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / sample_rate).clip(min=LOWEST_HZ)
    octaves = np.log2(hz / LOWEST_HZ)
    level_db = rng.uniform(*SLOPE_DB) * octaves
    for _ in range(NUM_HILLS):
        distance = (octaves - rng.uniform(0.0, octaves[-1])) / rng.uniform(*HILL_OCTAVES)
        level_db += rng.uniform(-HILL_DB, HILL_DB) * np.exp(-0.5 * distance**2)
    if rng.random() < BANDED_SHARE:
        low = rng.uniform(0.0, octaves[-1] - LEAST_OCTAVES)
        high = rng.uniform(low + LEAST_OCTAVES, octaves[-1])
        level_db = np.where((octaves >= low) & (octaves <= high), level_db, -100.0)
    noise = np.fft.irfft(spectrum * 10.0 ** ((level_db - level_db.max()) / 20.0), samples)
    if rng.random() < SWELLING_SHARE:
        noise = noise * _swell(rng, samples, sample_rate)
    return noise


def draw_noise(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return noise of a mean square of 1: a fifth of it white, a fifth pink, the rest drawn."""
    kind = rng.random()
    if kind < 0.2:
        noise = white_noise(rng, samples)
    elif kind < 0.4:
        noise = pink_noise(rng, samples)
    else:
        noise = coloured_noise(rng, samples, sample_rate)
    return noise / np.sqrt(np.mean(noise**2))


def _swell(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    turns = max(2, round(samples / sample_rate * rng.uniform(*SWELLS_HZ)) + 1)
    points = rng.uniform(-SWELL_DB, SWELL_DB, size=turns)
    level_db = np.interp(np.linspace(0, turns - 1, samples), np.arange(turns), points)
    return 10.0 ** (level_db / 20.0)
