"""Effects that undo something: hiss, bad timing, a room. Each has a ``strength``.

Damaged and undamaged sound are both known, since the damage is made here: 0 leaves the damage,
1 takes all of it away, and in between so much of it is left. (The published SignalTrain swaps
input and output of a noise adder and of a shifter; there the knob says how much damage there is.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data.effect_inputs import PUBLISHED_FILE_KINDS, DrySource, SyntheticDry
from audiform.data.effect_pairs import Pair, draw_settings
from audiform.data.noises import draw_noise
from audiform.data.rooms import draw_room, reflections
from audiform.dsp.convolve import convolve
from audiform.errors import DataError
from audiform.knob import Knob

STRENGTH = Knob(name="strength", minimum=0.0, maximum=1.0, default=1.0)

#: A note gives way to the next within so many seconds, so that no cut clicks.
FADE_SECONDS = 0.002


def _draw_strength(rng: np.random.Generator) -> float:
    return draw_settings((STRENGTH,), rng)[STRENGTH.name]


@dataclass(frozen=True)
class Denoise:
    """White, pink or coloured noise to be taken away, ``snr_db`` below the sound's mean square.

    A ``strength`` of None is drawn.
    """

    source: DrySource = field(default_factory=lambda: SyntheticDry(PUBLISHED_FILE_KINDS))
    snr_db: tuple[float, float] = (-5.0, 20.0)
    strength: float | None = None

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The strength."""
        return (STRENGTH,)

    def __call__(self, rng: np.random.Generator, *, samples: int, sample_rate: int) -> Pair:
        """Return a pair: ``clean + noise`` and ``clean + (1 - strength) noise``."""
        strength = _draw_strength(rng) if self.strength is None else self.strength
        clean = self.source(rng, samples=samples, sample_rate=sample_rate)
        level = clean.square().mean().sqrt() * 10.0 ** (-rng.uniform(*self.snr_db) / 20.0)
        rows = np.stack([draw_noise(rng, samples, sample_rate) for _ in clean])
        noise = level * torch.from_numpy(rows.astype(np.float32))
        return Pair(clean + noise, clean + (1.0 - strength) * noise, {"strength": strength})


@dataclass(frozen=True)
class Dereverberate:
    """A drawn room to be taken away; the direct sound stays where it is.

    ``lead_in_seconds`` of sound go before, so that the room already sounds. A ``strength`` of
    None is drawn.
    """

    source: DrySource = field(
        default_factory=lambda: SyntheticDry(("pluck", "noisy-box", "noisy-pluck"), 8192)
    )
    lead_in_seconds: float = 0.5
    strength: float | None = None

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The strength."""
        return (STRENGTH,)

    def __call__(self, rng: np.random.Generator, *, samples: int, sample_rate: int) -> Pair:
        """Return a pair: ``dry + room`` and ``dry + (1 - strength) room``."""
        strength = _draw_strength(rng) if self.strength is None else self.strength
        lead_in = round(self.lead_in_seconds * sample_rate)
        dry = self.source(rng, samples=lead_in + samples, sample_rate=sample_rate)
        response = reflections(draw_room(rng), rng, sample_rate=sample_rate)
        room = convolve(dry.double(), torch.from_numpy(response)[None]).float()
        dry, room = dry[:, lead_in:], room[:, lead_in:]
        return Pair(dry + room, dry + (1.0 - strength) * room, {"strength": strength})


class NoteSource(Protocol):
    """Something that gives notes or hits, drawn from ``rng`` alone."""

    def __call__(self, rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
        """Return ``samples`` samples that begin with the attack."""
        ...


@dataclass(frozen=True)
class Performance:
    """Notes and when they are played: the first of them sounds before the window begins.

    ``notes`` are as long as the window and more; ``played`` and ``grid`` are onsets in samples
    from the window's start, the first one not above 0 and the same in both.
    """

    notes: tuple[np.ndarray, ...]
    played: tuple[int, ...]
    grid: tuple[int, ...]

    def onsets(self, strength: float) -> tuple[int, ...]:
        """Return where notes begin when they are moved ``strength`` of the way to the grid."""
        return tuple(
            round(played + strength * (line - played))
            for played, line in zip(self.played, self.grid, strict=True)
        )


def perform(
    notes: tuple[np.ndarray, ...], onsets: tuple[int, ...], *, samples: int, fade_samples: int
) -> Float[Tensor, "1 time"]:
    """Return the window with every note sounding from its onset to the next one's.

    So a note that is moved back leaves no gap: the one before it goes on.
    """
    window = np.zeros(samples)
    ends = (*onsets[1:], samples)
    for note, onset, end in zip(notes, onsets, ends, strict=True):
        start, stop = max(0, onset), min(samples, end + fade_samples)
        if stop <= start:
            continue
        places = np.arange(start, stop)
        leaving = np.clip((end + fade_samples - places) / fade_samples, 0.0, 1.0)
        window[start:stop] += note[start - onset : stop - onset] * leaving
    return torch.from_numpy(window.astype(np.float32))[None]


@dataclass(frozen=True)
class TimeAlign:
    """Notes off the grid to be moved onto it.

    The grid's lines lie in the middle of ``num_notes`` equal parts of the window; a note is off
    by up to ``max_shift_seconds``, and never so far that it meets its neighbour. ``note`` gives
    what is played.
    """

    num_notes: int = 1
    max_shift_seconds: float = 0.17
    note: NoteSource = field(default_factory=lambda: synthetic_note)

    def __post_init__(self) -> None:
        if self.num_notes < 1 or self.max_shift_seconds <= 0:
            raise DataError(
                f"{self.num_notes} notes off by up to {self.max_shift_seconds} s were asked for; "
                "at least 1, and more than 0 s"
            )

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The strength."""
        return (STRENGTH,)

    def draw(self, rng: np.random.Generator, *, samples: int, sample_rate: int) -> Performance:
        """Draw notes and when they are played."""
        part = samples / self.num_notes
        furthest = min(self.max_shift_seconds * sample_rate, 0.45 * part)
        grid = [round((index + 0.5) * part) for index in range(self.num_notes)]
        shifts = np.round(rng.uniform(-furthest, furthest, size=self.num_notes)).astype(int)
        before = -int(rng.uniform(0.0, 0.5) * part)
        length = 2 * samples + round(FADE_SECONDS * sample_rate) + 1
        notes = tuple(self.note(rng, length, sample_rate) for _ in range(self.num_notes + 1))
        played = (line + int(shift) for line, shift in zip(grid, shifts, strict=True))
        return Performance(notes, (before, *played), (before, *grid))

    def __call__(self, rng: np.random.Generator, *, samples: int, sample_rate: int) -> Pair:
        """Return a pair: as played, and with every note moved ``strength`` of the way."""
        strength = _draw_strength(rng)
        performance = self.draw(rng, samples=samples, sample_rate=sample_rate)
        fade = max(1, round(FADE_SECONDS * sample_rate))
        dry, wet = (
            perform(performance.notes, onsets, samples=samples, fade_samples=fade)
            for onsets in (performance.played, performance.onsets(strength))
        )
        return Pair(dry, wet, {"strength": strength})


def synthetic_note(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Return a struck tone of one to three partials, or a drum: noise that dies away faster."""
    seconds = np.arange(samples) / sample_rate
    level = rng.uniform(0.3, 0.9)
    attack = np.minimum(1.0, seconds / 1e-3)
    if rng.random() < 0.3:
        sound = rng.uniform(-1.0, 1.0, samples) * np.exp(-rng.uniform(15.0, 60.0) * seconds)
        return level * attack * sound
    partials = rng.integers(1, 4)
    ground = 80.0 * 12.0 ** rng.random()
    phases = rng.uniform(0.0, 2 * np.pi, size=partials)
    tones = [
        np.sin(2 * np.pi * ground * (number + 1) * seconds + phase) / (number + 1)
        for number, phase in enumerate(phases)
    ]
    return level * attack * np.mean(tones, axis=0) * np.exp(-rng.uniform(1.0, 8.0) * seconds)
