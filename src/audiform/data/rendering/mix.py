"""Stems brought together: levels, the kick that ducks the others, and a master that still adds up.

What a master does is a gain over time that all stems share, so that their sum is the mixture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from audiform.data.rendering.chain import (
    GAIN_SAMPLES,
    Compression,
    block_peaks,
    compression_gain,
    joined_gains,
)
from audiform.data.rendering.samples import SAMPLE_RATE
from audiform.data.rendering.sound import amplitude

#: Stems of a song, in the order in which they are written.
STEMS = ("drums", "bass", "other", "vocals")

#: Level of a stem where it sounds: usual value and deviation, in dB.
LEVELS_DB = {"drums": (-14.0, 3.0), "bass": (-17.0, 3.0), "other": (-15.0, 3.0),
             "vocals": (-14.5, 3.5)}  # fmt: skip

#: No peak of the mixture, or of a stem, is higher.
CEILING = 0.97

#: The limiter looks ahead so far.
LOOK_AHEAD_MS = 4.0

#: Frames for the level of what sounds, and how far below the loudest one a pause is.
LEVEL_SECONDS = 0.1
PAUSE_DB = 40.0


@dataclass(frozen=True)
class MixPlan:
    """Levels of the stems in dB, depth of the ducking, compression and loudness of the master."""

    levels_db: dict[str, float]
    duck_db: float
    duck_seconds: float
    glue: Compression | None
    drive_db: float


def draw_mix(
    rng: np.random.Generator, *, duck_share: float, loud_db: tuple[float, float]
) -> MixPlan:
    """Draw a mix."""
    glue = Compression(
        over_db=float(rng.uniform(-3.0, 6.0)),
        ratio=float(rng.uniform(1.3, 4.0)),
        attack_ms=float(rng.uniform(5.0, 40.0)),
        release_ms=float(rng.uniform(80.0, 400.0)),
    )
    return MixPlan(
        levels_db={name: float(rng.normal(*LEVELS_DB[name])) for name in STEMS},
        duck_db=float(rng.uniform(3.0, 14.0)) if rng.random() < duck_share else 0.0,
        duck_seconds=float(rng.uniform(0.12, 0.3)),
        glue=glue if rng.random() < 0.6 else None,
        drive_db=float(rng.uniform(*loud_db)),
    )


def sounding_level(audio: np.ndarray) -> float:
    """Return the RMS over both channels of the frames that are no pauses; 0 in silence."""
    size = round(LEVEL_SECONDS * SAMPLE_RATE)
    whole = np.asarray(audio[:, : audio.shape[-1] // size * size], dtype=np.float32)
    frames = np.square(whole).reshape(len(audio), -1, size).mean(axis=2).mean(axis=0)
    if not frames.size or frames.max() < 1e-10:
        return 0.0
    return math.sqrt(frames[frames > frames.max() * 10.0 ** (-PAUSE_DB / 10.0)].mean())


def mix_down(
    stems: dict[str, np.ndarray], plan: MixPlan, kicks: list[int]
) -> dict[str, np.ndarray]:
    """Return the stems as they are in the finished song: their sum is the mixture."""
    levelled = {}
    for name, stem in stems.items():
        found = sounding_level(stem)
        levelled[name] = stem * (amplitude(plan.levels_db[name]) / max(found, 1e-5)).astype("f4")
    if plan.duck_db and kicks:
        dip = _ducking(kicks, plan, next(iter(stems.values())).shape[-1])
        for name in ("bass", "other"):
            levelled[name] = levelled[name] * dip
    master = sum(levelled.values(), start=np.zeros_like(next(iter(levelled.values()))))
    gain = amplitude(plan.drive_db) * np.ones(1, dtype=np.float32)
    if plan.glue is not None and master.any():
        gain = gain * compression_gain(master, plan.glue)
    gain = gain * limiter_gain([gain * master, *(gain * stem for stem in levelled.values())])
    return {name: stem * gain for name, stem in levelled.items()}


def _ducking(kicks: list[int], plan: MixPlan, length: int) -> np.ndarray:
    """Return a gain that falls within 5 ms at each kick and comes back along a cosine."""
    falling, rising = round(0.005 * SAMPLE_RATE), round(plan.duck_seconds * SAMPLE_RATE)
    depth = 1.0 - 10.0 ** (-plan.duck_db / 20.0)
    shape = depth * np.concatenate(
        [np.linspace(0.0, 1.0, falling), 0.5 + 0.5 * np.cos(np.linspace(0.0, np.pi, rising))]
    )
    dip = np.zeros(length + len(shape))
    for kick in kicks:
        place = slice(max(0, kick - falling), max(0, kick - falling) + len(shape))
        if place.stop <= len(dip):
            dip[place] = np.maximum(dip[place], shape)
    return (1.0 - dip[:length]).astype(np.float32)


def limiter_gain(tracks: list[np.ndarray]) -> np.ndarray:
    """Return the gain of each sample that keeps all ``tracks`` below the ceiling.

    It begins to fall before a peak comes: it is the mean, over a window, of the lowest that a
    window around asks for.
    """
    peaks = np.max([block_peaks(track) for track in tracks], axis=0)
    wanted = np.minimum(1.0, CEILING / np.maximum(peaks, 1e-9))
    wanted[1:] = np.minimum(wanted[1:], wanted[:-1])  # a block's gains lead to the next block's
    ahead = max(2, round(LOOK_AHEAD_MS * SAMPLE_RATE / 1000.0 / GAIN_SAMPLES))
    around = np.pad(wanted, 2 * ahead, mode="edge")
    lowest = np.lib.stride_tricks.sliding_window_view(around, 2 * ahead + 1).min(axis=1)
    smooth = np.convolve(lowest, np.full(2 * ahead + 1, 1.0 / (2 * ahead + 1)), mode="valid")
    return joined_gains(smooth, tracks[0].shape[-1])
