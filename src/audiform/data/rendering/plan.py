"""A song on paper: everything that is decided before a sound is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.rendering.bass import BassPlan, draw_bass
from audiform.data.rendering.chain import Chain, draw_chain
from audiform.data.rendering.drums import DrumPlan, draw_drums
from audiform.data.rendering.form import Section, draw_form
from audiform.data.rendering.harmony import Key
from audiform.data.rendering.mix import MixPlan, draw_mix
from audiform.data.rendering.parts import PartPlan, draw_part
from audiform.data.rendering.rhythm import METRES, Grid
from audiform.data.rendering.samples import SampleLibrary
from audiform.data.rendering.styles import STYLES, Style
from audiform.data.rendering.vocals import VocalPlan, draw_vocals
from audiform.data.rendering.voice import Voices

#: Beats of metres with six steps are longer, and so are slower.
SLOW_BEATS = 0.62

#: Songs without any voice.
INSTRUMENTAL_SHARE = 0.07

#: Parts of ``other``: 1 to 4.
PART_SHARES = (0.2, 0.35, 0.3, 0.15)

#: Share of a part's placement: to one side, in stereo by a delay, as it is.
PAN_SHARE, WIDE_SHARE = 0.55, 0.25

#: Level of a part against the first, in dB.
PART_LEVEL_DB = (-9.0, 0.0)


@dataclass(frozen=True)
class PlacedPart:
    """A part of ``other`` with what is done to it; ``delay_ms`` of the right side, or None."""

    part: PartPlan
    chain: Chain
    position: float
    delay_ms: float | None
    level_db: float


@dataclass(frozen=True)
class SongPlan:
    """A song. ``vocals`` is None for an instrumental one."""

    style: str
    grid: Grid
    key: Key
    sections: tuple[Section, ...]
    drums: DrumPlan
    drums_chain: Chain
    bass: BassPlan
    bass_chain: Chain
    parts: tuple[PlacedPart, ...]
    vocals: VocalPlan | None
    lead_chain: Chain
    behind_chain: Chain
    mix: MixPlan


def draw_song(
    library: SampleLibrary, voices: Voices, rng: np.random.Generator, *, seconds: float
) -> SongPlan:
    """Draw a song of about ``seconds``, a whole number of bars."""
    weights = np.array([style.weight for style in STYLES])
    style = STYLES[int(rng.choice(len(STYLES), p=weights / weights.sum()))]
    grid = _draw_grid(style, rng)
    parts = _draw_parts(library, style, grid, rng)
    num_bars = max(1, round(seconds / grid.bar_seconds))
    has_vocals = rng.random() >= INSTRUMENTAL_SHARE
    return SongPlan(
        style=style.name,
        grid=grid,
        key=Key(int(rng.integers(12)), str(rng.choice(style.modes))),
        sections=draw_form(rng, num_bars=num_bars, num_parts=len(parts)),
        drums=draw_drums(
            library,
            rng,
            groove=str(rng.choice(style.grooves)),
            metre=grid.metre,
            loose_ms=style.loose_ms,
        ),
        drums_chain=draw_chain("drums", library, rng, grid),
        bass=draw_bass(
            library,
            rng,
            line=str(rng.choice(style.basses)),
            synthetic=style.synthetic,
            loose_ms=style.loose_ms,
        ),
        bass_chain=draw_chain("bass", library, rng, grid),
        parts=parts,
        vocals=draw_vocals(library, voices, rng, grid, spoken=style.spoken) if has_vocals else None,
        lead_chain=draw_chain("voice", library, rng, grid),
        behind_chain=draw_chain("voices behind", library, rng, grid),
        mix=draw_mix(rng, duck_share=style.duck, loud_db=style.loud_db),
    )


def _draw_grid(style: Style, rng: np.random.Generator) -> Grid:
    metre = METRES[str(rng.choice(style.metres))]
    bpm = float(rng.uniform(*style.bpm)) * (SLOW_BEATS if metre.steps_per_beat == 6 else 1.0)
    swings = rng.random() < style.swing_share
    return Grid(metre, bpm, float(rng.uniform(0.05, 0.33)) if swings else 0.0)


def _draw_parts(
    library: SampleLibrary, style: Style, grid: Grid, rng: np.random.Generator
) -> tuple[PlacedPart, ...]:
    parts = []
    for number in range(1 + int(rng.choice(len(PART_SHARES), p=PART_SHARES))):
        part = draw_part(
            library,
            rng,
            grid,
            role=str(rng.choice(style.roles)),
            instrument_class=str(rng.choice(style.classes)),
            distorted_share=style.distorted,
            synthetic=style.synthetic,
            loose_ms=style.loose_ms,
        )
        where = rng.random()
        parts.append(
            PlacedPart(
                part=part,
                chain=draw_chain("guitar" if part.distorted else "part", library, rng, grid),
                position=float(rng.uniform(-0.8, 0.8)) if where < PAN_SHARE else 0.0,
                delay_ms=float(rng.uniform(6.0, 30.0)) if where > 1.0 - WIDE_SHARE else None,
                level_db=float(rng.uniform(*PART_LEVEL_DB)) if number else 0.0,
            )
        )
    return tuple(parts)
