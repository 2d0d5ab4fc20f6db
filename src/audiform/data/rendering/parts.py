"""The parts of ``other``: chords, arpeggios, riffs, pads, leads of guitars, keys and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from audiform.data.rendering.form import Section
from audiform.data.rendering.harmony import Key, inverted
from audiform.data.rendering.instrument import Instrument, choose_instrument
from audiform.data.rendering.melody import draw_melody_plan, section_melody
from audiform.data.rendering.rhythm import Grid
from audiform.data.rendering.samples import SAMPLE_RATE, SampleLibrary
from audiform.data.rendering.sound import add_at, silence

#: No note rings longer.
LONGEST_SECONDS = 5.0

#: Time from one string to the next.
STRUM_MS = (4.0, 22.0)

#: Middle of a role's notes.
CENTRES = {"power": 45.0, "lead": 69.0, "arpeggio": 64.0, "riff": 57.0, "pad": 60.0}
CENTRE_OF_OTHERS = 58.0


@dataclass(frozen=True)
class PartPlan:
    """Which instrument plays what.

    ``role`` is what is played, ``rhythm`` the steps of a bar on which it is, ``ring`` how long
    notes last against the time to the next. A part that is ``doubled`` is played twice, once
    for each side.
    """

    role: str
    instrument: str
    distorted: bool
    doubled: bool
    centre: float
    rhythm: tuple[int, ...]
    ring: float
    sevenths: bool
    loose_ms: float


def draw_part(
    library: SampleLibrary,
    rng: np.random.Generator,
    grid: Grid,
    *,
    role: str,
    instrument_class: str,
    distorted_share: float,
    synthetic: float,
    loose_ms: tuple[float, float],
) -> PartPlan:
    """Draw an instrument of a class, and how it plays its role."""
    guitar = instrument_class == "guitar" or role in ("power", "skank")
    name = choose_instrument(
        library,
        rng,
        classes=("guitar",) if guitar else (instrument_class,),
        synthetic_share=0.0 if guitar else synthetic,
    )
    distorted = guitar and (role == "power" or rng.random() < distorted_share)
    busy = float(rng.uniform(0.15, 0.5))
    steps = grid.metre.steps
    rhythm = [0, *(step for step in range(1, steps) if rng.random() < busy * (1 + (step % 2 == 0)))]
    if role == "skank":
        rhythm = [beat * grid.metre.steps_per_beat for beat in grid.metre.backbeats]
    elif role == "pad":
        rhythm = [0]
    elif role == "arpeggio":
        rhythm = list(range(0, steps, int(rng.choice([1, 2, 2]))))
    elif role == "power" and rng.random() < 0.4:
        rhythm = list(range(0, steps, 2))
    return PartPlan(
        role=role,
        instrument=name,
        distorted=bool(distorted),
        doubled=bool(guitar and rng.random() < (0.6 if distorted else 0.25)),
        centre=CENTRES.get(role, CENTRE_OF_OTHERS) + float(rng.uniform(-5.0, 5.0)),
        rhythm=tuple(rhythm),
        ring=float({"stab": 0.35, "skank": 0.3, "pad": 1.05}.get(role, rng.uniform(0.5, 1.6))),
        sevenths=bool(rng.random() < 0.3),
        loose_ms=float(rng.uniform(*loose_ms)),
    )


@dataclass(frozen=True)
class Strike:
    """Notes that begin together."""

    onset_seconds: float
    seconds: float
    notes: list[int]
    gain: float


def play_part(
    library: SampleLibrary,
    plan: PartPlan,
    number: int,
    grid: Grid,
    key: Key,
    sections: tuple[Section, ...],
    rng: np.random.Generator,
    *,
    seconds: float,
) -> list[np.ndarray]:
    """Return a track for each time that part ``number`` is played: one, or two if doubled."""
    sound_seed, line_seed = rng.integers(2**62, size=2)
    strikes = [
        strike
        for section in sections
        if number in section.parts
        for strike in _strikes(plan, grid, key, section, np.random.default_rng(line_seed))
    ]
    strum_ms = float(rng.uniform(*STRUM_MS)) if plan.role in ("strum", "power", "comp") else 0.0
    takes = []
    for _ in range(2 if plan.doubled else 1):
        track = silence(seconds)
        instrument = Instrument(library, plan.instrument, np.random.default_rng(sound_seed))
        for strike in strikes:
            late = rng.normal(0.0, plan.loose_ms) / 1000.0
            gain = np.float32(strike.gain * rng.uniform(0.8, 1.0) / len(strike.notes) ** 0.5)
            for string, midi in enumerate(strike.notes):
                note = instrument.note(midi, strike.seconds, rng, release_ms=60.0)
                onset = strike.onset_seconds + late + string * strum_ms / 1000.0
                add_at(track, note * gain, round(onset * SAMPLE_RATE))
        takes.append(track)
    return takes


def _strikes(
    plan: PartPlan, grid: Grid, key: Key, section: Section, rng: np.random.Generator
) -> Iterator[Strike]:
    """Yield what a part plays in a section; equal generators play sections of a name alike."""
    gain = 0.55 + 0.45 * section.energy
    if plan.role == "lead":
        melody = draw_melody_plan(rng, centre=plan.centre, bar_seconds=grid.bar_seconds)
        for phrase in section_melody(melody, grid, key, section, rng):
            for note in phrase.notes:
                onset = phrase.onset_seconds + note.onset_seconds
                yield Strike(onset, note.seconds + 0.03, [note.midi], gain)
        return
    riff = rng.integers(-2, 5, grid.metre.steps)
    for bar in section.bars:
        ends = (*plan.rhythm[1:], grid.metre.steps)
        for index, (step, end) in enumerate(zip(plan.rhythm, ends, strict=True)):
            onset = grid.seconds(bar, step)
            length = max(0.06, grid.step_seconds * (end - step) * plan.ring)
            notes = _notes(plan, key, section.chord(bar), index, int(riff[step]))
            lifted = [note + section.lift for note in notes]
            yield Strike(onset, min(length, LONGEST_SECONDS), lifted, gain)


def _notes(plan: PartPlan, key: Key, degree: int, index: int, riff: int) -> list[int]:
    if plan.role == "power":
        root = key.midi(degree, near=plan.centre)
        return [root, root + 7, root + 12]
    chord = key.chord(degree, near=plan.centre, size=4 if plan.sevenths else 3)
    if plan.role == "arpeggio":
        notes = inverted(chord, centre=plan.centre)
        climb = [*notes, notes[0] + 12, *reversed(notes[1:])]
        return [climb[index % len(climb)]]
    if plan.role == "riff":
        return [key.midi(degree + riff, near=plan.centre)]
    voiced = inverted(chord, centre=plan.centre)
    return [*voiced, voiced[0] - 12] if plan.role == "strum" else voiced
