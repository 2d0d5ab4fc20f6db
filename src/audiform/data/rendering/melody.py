"""Melodies: phrases of notes over chords, with rests between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.rendering.form import Section
from audiform.data.rendering.harmony import Key
from audiform.data.rendering.rhythm import Grid

#: Steps that a melody moves along its scale from note to note, and how often.
MOVES = (-2, -1, 0, 1, 2, -4, 3)
MOVE_SHARES = (0.14, 0.25, 0.16, 0.23, 0.13, 0.04, 0.05)

#: Farthest from where the melody began, in notes of its scale.
RANGE = 6


@dataclass(frozen=True)
class Note:
    """A note: seconds from the beginning of its phrase, MIDI number."""

    onset_seconds: float
    seconds: float
    midi: int


@dataclass(frozen=True)
class Phrase:
    """Notes in one breath; ``onset_seconds`` counts from the beginning of the song.

    ``name`` is the same for phrases that are the same but for where they are.
    """

    name: str
    onset_seconds: float
    notes: tuple[Note, ...]

    @property
    def seconds(self) -> float:
        """Time to the end of the last note."""
        return self.notes[-1].onset_seconds + self.notes[-1].seconds


@dataclass(frozen=True)
class MelodyPlan:
    """What melodies are like.

    Notes lie around ``centre``. ``density`` is the share of the steps on which a note begins,
    ``phrase_bars`` the distance of phrases, ``rest`` the share of it that is silent at the end,
    ``five_notes`` whether the scale is that of five notes.
    """

    centre: float
    density: float
    phrase_bars: int
    rest: float
    five_notes: bool


def draw_melody_plan(rng: np.random.Generator, *, centre: float, bar_seconds: float) -> MelodyPlan:
    """Draw a way of making melodies; phrases last two to seven seconds."""
    longest = max(1, int(7.0 / bar_seconds))
    return MelodyPlan(
        centre=centre,
        density=float(rng.uniform(0.15, 0.45)),
        phrase_bars=int(min(longest, rng.choice([1, 2, 2, 4]))),
        rest=float(rng.uniform(0.15, 0.6)),
        five_notes=bool(rng.random() < 0.5),
    )


def section_melody(
    plan: MelodyPlan, grid: Grid, key: Key, section: Section, rng: np.random.Generator
) -> list[Phrase]:
    """Return the phrases of a section; every second one often repeats the one before the last."""
    phrases: list[Phrase] = []
    for number, first in enumerate(range(0, len(section.chords), plan.phrase_bars)):
        bars = min(plan.phrase_bars, len(section.chords) - first)
        onset = grid.seconds(section.first_bar + first, 0)
        rhythm_of = phrases[-2] if number > 1 and rng.random() < 0.5 else None
        if rhythm_of is not None and first + bars <= len(section.chords):
            phrases.append(Phrase(rhythm_of.name, onset, rhythm_of.notes))
            continue
        notes = _notes(plan, grid, key, section, first, bars, rng)
        if notes:
            phrases.append(Phrase(f"{section.name} {number}", onset, notes))
    return phrases


def _notes(
    plan: MelodyPlan,
    grid: Grid,
    key: Key,
    section: Section,
    first: int,
    bars: int,
    rng: np.random.Generator,
) -> tuple[Note, ...]:
    steps = grid.metre.steps
    last = int(bars * steps * (1.0 - plan.rest * rng.uniform(0.6, 1.3)))
    start = int(rng.choice([0, 0, 1, 2])) * max(1, grid.metre.steps_per_beat // 2)
    beats = np.arange(bars * steps) % grid.metre.steps_per_beat == 0
    begins = rng.random(bars * steps) < plan.density * np.where(beats, 1.7, 0.7)
    onsets = [step for step in range(start, max(start + 1, last)) if begins[step] or step == start]
    place, notes = int(rng.integers(-2, 3)), []
    for step, following in zip(onsets, [*onsets[1:], max(last, onsets[-1] + 2)], strict=True):
        bar = section.first_bar + min(first + step // steps, len(section.chords) - 1)
        place = int(np.clip(place + rng.choice(MOVES, p=MOVE_SHARES), -RANGE, RANGE))
        midi = _pitch(plan, key, place)
        if step % grid.metre.steps_per_beat == 0:
            midi = _nearest(midi, key.chord(section.chord(bar), near=plan.centre))
        begin = grid.seconds(0, step)
        length = (grid.seconds(0, following) - begin) * rng.uniform(0.8, 1.0)
        notes.append(Note(begin, float(length), midi + section.lift))
    return tuple(notes)


def _pitch(plan: MelodyPlan, key: Key, place: int) -> int:
    if not plan.five_notes:
        return key.midi(place, near=plan.centre)
    octave, index = divmod(place, len(key.melodic))
    return key.midi(key.melodic[index] + 7 * octave, near=plan.centre)


def _nearest(midi: int, chord: list[int]) -> int:
    """Return the note of a chord, in any octave, that is nearest to ``midi``."""
    return min(
        (note + 12 * round((midi - note) / 12) for note in chord), key=lambda n: abs(n - midi)
    )


def harmonised(phrase: Phrase, key: Key, *, thirds: int) -> Phrase:
    """Return a phrase moved by ``thirds`` along the scale: 1 a third up, -1 a third down.

    Notes that are not of the scale are moved by the interval of the note below.
    """
    scale = sorted(key.pitch_classes)

    def moved(midi: int) -> int:
        pitch_class = midi % 12
        place = max((i for i, of_scale in enumerate(scale) if of_scale <= pitch_class), default=0)
        further, index = divmod(place + 2 * thirds, len(scale))
        return midi + scale[index] + 12 * further - scale[place]

    notes = tuple(Note(note.onset_seconds, note.seconds, moved(note.midi)) for note in phrase.notes)
    return Phrase(f"{phrase.name} {thirds:+d}", phrase.onset_seconds, notes)
