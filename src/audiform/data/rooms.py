"""Rooms that never were: what the walls of a box send back.

Early reflections are those of the image method (J. B. Allen and D. A. Berkley, "Image method for
efficiently simulating small-room acoustics", 1979); what comes later is noise that goes on from
their level and dies away in the room's time (E. A. Lehmann and A. M. Johansson, "Diffuse
reverberation model for efficient image-source simulation of room impulse responses", 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SPEED_OF_SOUND = 343.0

#: Reflections are counted one by one for so long after the direct sound.
EARLY_SECONDS = 0.05

#: The last part of that, from whose level the noise goes on.
MATCHED_SECONDS = 0.02

#: Neither source nor microphone is nearer to a wall, in metres.
CLEARANCE = 0.5

#: Ranges of a room's sides in metres, and of the time in which it decays by 60 dB.
SIDES = ((3.0, 10.0), (3.0, 8.0), (2.4, 4.0))
DECAY_SECONDS = (0.2, 1.2)

#: The direct sound against all reflections: neither a telephone nor a cathedral.
DIRECT_TO_REVERBERANT_DB = (-6.0, 12.0)


@dataclass(frozen=True)
class Room:
    """A box with a source and a microphone in it; lengths in metres."""

    sides: tuple[float, float, float]
    source: tuple[float, float, float]
    microphone: tuple[float, float, float]
    decay_seconds: float
    direct_to_reverberant_db: float

    @property
    def reflection(self) -> float:
        """What is left of a wave's amplitude after a wall (Eyring's formula)."""
        x, y, z = self.sides
        surface = 2 * (x * y + y * z + z * x)
        return math.exp(-0.161 * x * y * z / (2 * surface * self.decay_seconds))


def draw_room(rng: np.random.Generator) -> Room:
    """Draw a room."""
    sides = tuple(rng.uniform(low, high) for low, high in SIDES)
    source, microphone = (
        tuple(rng.uniform(CLEARANCE, side - CLEARANCE) for side in sides) for _ in range(2)
    )
    return Room(
        sides=sides,  # type: ignore[arg-type]
        source=source,  # type: ignore[arg-type]
        microphone=microphone,  # type: ignore[arg-type]
        decay_seconds=rng.uniform(*DECAY_SECONDS),
        direct_to_reverberant_db=rng.uniform(*DIRECT_TO_REVERBERANT_DB),
    )


def reflections(room: Room, rng: np.random.Generator, *, sample_rate: int) -> np.ndarray:
    """Return what follows a direct sound of 1 at sample 0, until 60 dB below its beginning.

    Its energy is ``room.direct_to_reverberant_db`` below 1. ``rng`` draws the noise.
    """
    early_samples = round(EARLY_SECONDS * sample_rate)
    total = early_samples + round(room.decay_seconds * sample_rate)
    response = np.zeros(total)
    times, levels = _images(room)
    arrivals = np.minimum(np.round(times * sample_rate).astype(int), early_samples - 1)
    np.add.at(response, arrivals, levels)
    matched = round(MATCHED_SECONDS * sample_rate)
    seconds = (np.arange(total) - (early_samples - matched / 2)) / sample_rate
    noise = rng.standard_normal(total) * 10.0 ** (-3.0 * seconds / room.decay_seconds)
    level = np.sqrt(np.mean(response[early_samples - matched : early_samples] ** 2))
    response[early_samples:] = level * noise[early_samples:]
    wanted = 10.0 ** (-room.direct_to_reverberant_db / 20.0)
    return response * (wanted / np.sqrt(np.sum(response**2)))


def _images(room: Room) -> tuple[np.ndarray, np.ndarray]:
    """Return when the early reflections arrive after the direct sound, and how strong.

    Along one side of length L, images of a source at s lie at 2 n L + s, after 2 |n| walls, and
    at 2 n L - s, after |2 n - 1|.
    """
    direct = math.dist(room.source, room.microphone)
    reach = direct + EARLY_SECONDS * SPEED_OF_SOUND
    offsets, walls = [], []
    for side, source, microphone in zip(room.sides, room.source, room.microphone, strict=True):
        number = np.arange(-math.ceil(reach / (2 * side)) - 1, math.ceil(reach / (2 * side)) + 2)
        places = np.concatenate([2 * number * side + source, 2 * number * side - source])
        offsets.append(places - microphone)
        walls.append(np.concatenate([2 * np.abs(number), np.abs(2 * number - 1)]))
    x, y, z = np.ix_(*offsets)
    distances = np.sqrt(x**2 + y**2 + z**2)
    along_x, along_y, along_z = np.ix_(*walls)
    order = along_x + along_y + along_z
    near = (distances < reach) & (order > 0)
    distance = distances[near]
    times = (distance - direct) / SPEED_OF_SOUND
    return times, room.reflection ** order[near] * direct / distance
