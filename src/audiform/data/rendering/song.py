"""A song from paper to stems."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from audiform.data.rendering.bass import play_bass
from audiform.data.rendering.chain import apply_chain
from audiform.data.rendering.drums import play_drums
from audiform.data.rendering.mix import STEMS, mix_down, sounding_level
from audiform.data.rendering.parts import play_part
from audiform.data.rendering.plan import PlacedPart, SongPlan, draw_song
from audiform.data.rendering.samples import SampleLibrary
from audiform.data.rendering.sound import amplitude, fade_ends, pan, silence, widen
from audiform.data.rendering.vocals import sing_song
from audiform.data.rendering.voice import Voices

#: What rings on after the last bar.
ENDING_SECONDS = 2.5

#: Level of doubled takes: how far to the sides they lie.
DOUBLED_POSITIONS = (-0.85, 0.85)

#: Streams of random numbers, one for each who plays.
STREAMS = ("plan", "drums", "bass", "other", "vocals")

#: Full scale of what is written.
FULL_SCALE = 32767


@dataclass(frozen=True)
class Song:
    """A finished song: 16-bit stems (2, time) that add up to the mixture exactly."""

    stems: dict[str, np.ndarray]
    plan: SongPlan

    @property
    def mixture(self) -> np.ndarray:
        """The sum of the stems."""
        total = np.sum([stem.astype(np.int32) for stem in self.stems.values()], axis=0)
        return np.asarray(total, dtype=np.int16)

    def description(self) -> dict[str, Any]:
        """Return what was drawn, and levels against the mixture where a stem sounds, in dB."""
        whole = max(sounding_level(self.mixture / FULL_SCALE), 1e-6)
        levels = {name: sounding_level(stem / FULL_SCALE) for name, stem in self.stems.items()}
        return {
            **asdict(self.plan),
            "relative_db": {
                name: round(20.0 * float(np.log10(level / whole)), 2) if level else None
                for name, level in levels.items()
            },
        }


def render_song(
    library: SampleLibrary, voices: Voices, *, seed: int, number: int, seconds: float
) -> Song:
    """Render song ``number`` of ``seed``, about ``seconds`` long; a function of these alone."""
    random = {
        name: np.random.default_rng([seed, number, stream]) for stream, name in enumerate(STREAMS)
    }
    plan = draw_song(library, voices, random["plan"], seconds=seconds)
    grid, sections = plan.grid, plan.sections
    length = grid.seconds(sections[-1].bars[-1] + 1, 0) + ENDING_SECONDS
    drums, bass = silence(length), silence(length)
    kicks = play_drums(drums, library, plan.drums, grid, sections, random["drums"])
    play_bass(bass, library, plan.bass, grid, plan.key, sections, random["bass"])
    other = silence(length)
    for part_number, placed in enumerate(plan.parts):
        other += _part(library, plan, placed, part_number, random["other"], length)
    vocals = silence(length)
    if plan.vocals is not None:
        sung = sing_song(
            library,
            voices,
            plan.vocals,
            grid,
            plan.key,
            sections,
            random["vocals"],
            seconds=length,
        )
        vocals = apply_chain(sung.lead, plan.lead_chain, library)
        vocals = vocals + apply_chain(sung.behind, plan.behind_chain, library)
    stems = {
        "drums": apply_chain(drums, plan.drums_chain, library),
        "bass": apply_chain(bass, plan.bass_chain, library),
        "other": other,
        "vocals": vocals,
    }
    mixed = mix_down(stems, plan.mix, kicks)
    return Song({name: _as_integers(mixed[name]) for name in STEMS}, plan)


def _part(
    library: SampleLibrary,
    plan: SongPlan,
    placed: PlacedPart,
    number: int,
    rng: np.random.Generator,
    seconds: float,
) -> np.ndarray:
    """Return a part of ``other`` at its place and level."""
    takes = play_part(
        library, placed.part, number, plan.grid, plan.key, plan.sections, rng, seconds=seconds
    )
    if len(takes) == 2:
        left, right = DOUBLED_POSITIONS
        track = pan(takes[0], left) + pan(takes[1], right)
    else:
        track = pan(takes[0], placed.position)
    if placed.delay_ms is not None:
        track = widen(track, placed.delay_ms)
    treated = apply_chain(track, placed.chain, library)
    level = sounding_level(treated)
    return treated * np.float32(amplitude(placed.level_db) * 0.1 / max(level, 1e-6))


def _as_integers(stem: np.ndarray) -> np.ndarray:
    ended = fade_ends(stem, in_ms=2.0, out_ms=400.0)
    return np.round(ended * FULL_SCALE).astype(np.int16)
