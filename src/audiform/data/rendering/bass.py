"""Bass lines: which steps of a bar sound, and which notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from audiform.data.rendering.form import Section
from audiform.data.rendering.harmony import Key
from audiform.data.rendering.instrument import Instrument, choose_instrument
from audiform.data.rendering.rhythm import Grid, Metre
from audiform.data.rendering.samples import SAMPLE_RATE, SampleLibrary
from audiform.data.rendering.sound import add_at

#: Notes lie around this one.
CENTRE = 36.0

#: No note rings longer.
LONGEST_SECONDS = 4.0

#: Steps of a bar and the degrees above the chord on them.
Line = list[tuple[int, int]]


@dataclass(frozen=True)
class BassPlan:
    """Which instrument, which line; ``legato`` is the share of the time to the next note."""

    instrument: str
    line: str
    legato: float
    loose_ms: float


def draw_bass(
    library: SampleLibrary,
    rng: np.random.Generator,
    *,
    line: str,
    synthetic: float,
    loose_ms: tuple[float, float],
) -> BassPlan:
    """Draw a bass and its player."""
    return BassPlan(
        instrument=choose_instrument(library, rng, classes=("bass",), synthetic_share=synthetic),
        line=line,
        legato=float(rng.uniform(0.45, 1.0)),
        loose_ms=float(rng.uniform(*loose_ms)),
    )


def _every(stride: int) -> Callable[[Metre, np.random.Generator], Line]:
    def line(metre: Metre, rng: np.random.Generator) -> Line:
        return [(step, 0) for step in range(0, metre.steps, stride)]

    return line


def _locked(metre: Metre, rng: np.random.Generator) -> Line:
    steps = [0, *(step for step in range(2, metre.steps) if rng.random() < 0.2)]
    return [(step, int(rng.choice([0, 0, 0, 4, 7]))) for step in steps]


def _syncopated(metre: Metre, rng: np.random.Generator) -> Line:
    steps = [0, *(step for step in range(1, metre.steps) if rng.random() < 0.35)]
    return [(step, int(rng.choice([0, 0, 2, 4, 6, 7]))) for step in steps]


def _walking(metre: Metre, rng: np.random.Generator) -> Line:
    degrees = [0, *rng.choice([1, 2, 3, 4, 5, -1, -2], metre.beats - 1)]
    return [(beat * metre.steps_per_beat, int(degree)) for beat, degree in enumerate(degrees)]


def _octaves(metre: Metre, rng: np.random.Generator) -> Line:
    half = max(1, metre.steps_per_beat // 2)
    return [(step, 7 * (step // half % 2)) for step in range(0, metre.steps, half)]


def _offbeat(metre: Metre, rng: np.random.Generator) -> Line:
    half = metre.steps_per_beat // 2
    return [(beat * metre.steps_per_beat + half, 0) for beat in range(metre.beats)]


def _roots(metre: Metre, rng: np.random.Generator) -> Line:
    return [(0, 0), (metre.beats // 2 * metre.steps_per_beat, 4)]


def _riff(metre: Metre, rng: np.random.Generator) -> Line:
    steps = [0, *(step for step in range(1, metre.steps) if rng.random() < 0.3)]
    return [(step, int(rng.choice([0, 0, 1, 2, 4, -1]))) for step in steps]


#: Name, as styles give it -> line of a bar.
LINES: dict[str, Callable[[Metre, np.random.Generator], Line]] = {
    "eighths": _every(2),
    "sixteenths": _every(1),
    "sustained": lambda metre, rng: [(0, 0)],
    "locked": _locked,
    "syncopated": _syncopated,
    "walking": _walking,
    "octaves": _octaves,
    "offbeat": _offbeat,
    "roots": _roots,
    "riff": _riff,
    "none": lambda metre, rng: [],
}


def play_bass(
    track: np.ndarray,
    library: SampleLibrary,
    plan: BassPlan,
    grid: Grid,
    key: Key,
    sections: tuple[Section, ...],
    rng: np.random.Generator,
) -> None:
    """Add the bass to ``track``."""
    instrument = Instrument(library, plan.instrument, rng, bass=True)
    lines: dict[tuple[str, int], Line] = {}
    for section in sections:
        for bar in section.bars if section.bass else ():
            place = (section.name, (bar - section.first_bar) % 2)
            if place not in lines or plan.line == "walking":
                lines[place] = LINES[plan.line](grid.metre, rng)
            line = lines[place]
            for (step, degree), (end, _) in pairwise([*line, (grid.metre.steps, 0)]):
                midi = key.midi(section.chord(bar) + degree, near=CENTRE) + section.lift
                length = grid.step_seconds * (end - step) * plan.legato + 0.04
                note = instrument.note(midi, min(length, LONGEST_SECONDS), rng)
                gain = np.float32((0.6 + 0.4 * section.energy) * rng.uniform(0.75, 1.0))
                onset = grid.seconds(bar, step) + rng.normal(0.0, plan.loose_ms) / 1000.0
                add_at(track, note * gain, round(onset * SAMPLE_RATE))
