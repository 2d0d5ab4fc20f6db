"""Automix: stems of different songs, brought to one tempo, one beat and one key.

The data that Hybrid Demucs was fine-tuned on (arXiv:2111.03600, section 4): the tempo of the
drums, the pitch shift with the least L1 distance between distributions over pitch classes, the
first beat; only where 3 semitones and 15 % of tempo suffice. Differs from it in fitting an even
grid to each excerpt, so that no beat drifts away, and in refusing excerpts without one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor

from audiform.augment.beats import BeatGrid, fit_grid
from audiform.augment.track_analysis import DRUMS, TrackAnalysis
from audiform.dsp.change_pitch import change_pitch
from audiform.errors import DataError

#: Audio before the first beat, so that its attack is whole.
LEAD_SECONDS = 0.1

#: Excerpts of a track that are tried before it is given up.
EXCERPT_TRIES = 4

#: Songs that are tried as the ground of one mix.
GROUND_TRIES = 20

#: Reads a stem: (track, source, start and duration in seconds) -> (channels, time), silence beyond.
ReadStem = Callable[[str, str, float, float], Float[Tensor, "channels time"]]


class AutomixConfig(BaseModel):
    """Length of a mix, and what may be done to a stem to make it fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: PositiveFloat = 30.0
    max_semitones: NonNegativeInt = 3
    max_tempo_percent: NonNegativeFloat = 15.0
    max_beat_error_seconds: PositiveFloat = 0.03


@dataclass(frozen=True)
class Fit:
    """How one song is brought to another: faster by ``rate``, up by ``semitones``.

    ``beats_per_beat`` is how many of its beats go on one of the other's: 2, 1 or 1/2.
    ``distance`` is what is left between their distributions over pitch classes, in [0, 2].
    """

    rate: float
    semitones: int
    beats_per_beat: float
    distance: float


@dataclass(frozen=True)
class Refusal:
    """Why a song was not taken."""

    track: str
    reason: str


@dataclass(frozen=True)
class PlannedStem:
    """A stem of the mix: where it is read, and what is done to it."""

    source: str
    track: str
    start_seconds: float
    rate: float
    semitones: int


@dataclass(frozen=True)
class MixPlan:
    """A mix, and the songs that were refused on the way. The first beat is at 0.1 s."""

    seconds: float
    tempo_bpm: float
    stems: tuple[PlannedStem, ...]
    refused: tuple[Refusal, ...]


def best_semitones(pitches: Sequence[float], onto: Sequence[float]) -> tuple[int, float]:
    """Return the shift (-5 .. 6) that brings one distribution nearest to another, and the L1."""
    theirs = np.asarray(onto)
    distances = {
        shift: float(np.abs(np.roll(np.asarray(pitches), shift) - theirs).sum())
        for shift in sorted(range(-5, 7), key=abs)
    }
    shift = min(distances, key=lambda shift: distances[shift])
    return shift, distances[shift]


def fit_tempo(period: float, onto_period: float) -> tuple[float, float]:
    """Return the rate and how many beats go on one, for the octave that changes least."""
    options = [(period / (onto_period / count), count) for count in (1.0, 2.0, 0.5)]
    return min(options, key=lambda option: abs(math.log(option[0])))


def fit_tracks(
    track: TrackAnalysis,
    onto: TrackAnalysis,
    config: AutomixConfig | None = None,
    *,
    key: TrackAnalysis | None = None,
) -> Fit | Refusal:
    """Return how ``track`` is brought to the tempo of ``onto`` and the pitches of ``key``.

    ``key`` is ``onto`` where it is not given.
    """
    config = config or AutomixConfig()
    key = key or onto
    for one in (track, onto):
        if one.beats.tempo_bpm == 0.0:
            return Refusal(track.name, f"no beat was found in the drums of {one.name!r}")
    rate, count = fit_tempo(60.0 / track.beats.tempo_bpm, 60.0 / onto.beats.tempo_bpm)
    if abs(rate - 1.0) > config.max_tempo_percent / 100.0:
        return Refusal(
            track.name,
            f"{track.beats.tempo_bpm:.1f} to {onto.beats.tempo_bpm:.1f} beats per minute needs "
            f"{100 * (rate - 1):+.1f} % of tempo, the limit is {config.max_tempo_percent:g} %",
        )
    if not any(track.chroma) or not any(key.chroma):
        return Refusal(track.name, "nothing but drums to compare the pitch of")
    semitones, distance = best_semitones(track.chroma, key.chroma)
    if abs(semitones) > config.max_semitones:
        return Refusal(
            track.name,
            f"the key of {key.name!r} is {semitones:+d} semitones away, the limit is "
            f"{config.max_semitones}",
        )
    return Fit(rate, semitones, count, distance)


def plan_mix(
    tracks: Sequence[TrackAnalysis],
    sources: Sequence[str],
    generator: torch.Generator,
    config: AutomixConfig | None = None,
) -> MixPlan:
    """Draw a mix: drums of one song, each other source of another one that fits.

    The drums give the tempo, the first other source gives the key. A song gives one source, as
    long as there are enough that fit. Raises :class:`DataError`, with the reasons, where no two
    songs go together.
    """
    config = config or AutomixConfig()
    refused: list[Refusal] = []
    grounds = [track for track in tracks if DRUMS in track.sources]
    others = [source for source in sources if source != DRUMS]
    for number in _shuffled(len(grounds), generator)[:GROUND_TRIES]:
        ground = grounds[number]
        grid = _draw_grid(ground, config.seconds, generator, config)
        if isinstance(grid, Refusal):
            refused.append(grid)
            continue
        stems = [PlannedStem(DRUMS, ground.name, grid.first_seconds - LEAD_SECONDS, 1.0, 0)]
        key: TrackAnalysis | None = None
        for source in others:
            found = _draw_stem(source, tracks, stems, ground, grid, key, generator, config, refused)
            if found is None:
                break
            stem, giver = found
            stems.append(stem)
            key = key or giver
        if len(stems) == len(others) + 1 and len({stem.track for stem in stems}) > 1:
            order = {source: place for place, source in enumerate(sources)}
            kept = sorted((s for s in stems if s.source in order), key=lambda s: order[s.source])
            return MixPlan(config.seconds, 60.0 / grid.period_seconds, tuple(kept), tuple(refused))
    reasons = "; ".join(sorted({f"{refusal.track}: {refusal.reason}" for refusal in refused})[:6])
    raise DataError(
        f"no mix of {', '.join(sources)} could be made of {len(tracks)} tracks ({reasons}); add "
        "songs, or allow more semitones and tempo"
    )


def apply_plan(
    plan: MixPlan, read: ReadStem, *, sample_rate: int, formant_sources: Sequence[str] = ("vocals",)
) -> Float[Tensor, "source channel time"]:
    """Read the stems of ``plan``, in its order, and bring them together."""
    samples = round(plan.seconds * sample_rate)
    mixed = []
    for stem in plan.stems:
        audio = read(
            stem.track, stem.source, stem.start_seconds, plan.seconds * stem.rate + LEAD_SECONDS
        )
        changed = change_pitch(
            audio,
            semitones=float(stem.semitones),
            rate=stem.rate,
            sample_rate=sample_rate,
            keep_formants=stem.source in formant_sources,
        )
        changed = changed[:, :samples]
        mixed.append(F.pad(changed, (0, samples - changed.shape[-1])))
    return torch.stack(mixed)


def _draw_stem(
    source: str,
    tracks: Sequence[TrackAnalysis],
    taken: Sequence[PlannedStem],
    ground: TrackAnalysis,
    grid: BeatGrid,
    key: TrackAnalysis | None,
    generator: torch.Generator,
    config: AutomixConfig,
    refused: list[Refusal],
) -> tuple[PlannedStem, TrackAnalysis] | None:
    """Return a stem of a song that fits, one that gave nothing yet if there is one."""
    used = {stem.track for stem in taken}
    order = _shuffled(len(tracks), generator)
    for number in sorted(order, key=lambda number: tracks[number].name in used):
        track = tracks[number]
        if source not in track.sources:
            continue
        fit = fit_tracks(track, ground, config, key=key or track)
        if isinstance(fit, Refusal):
            refused.append(fit)
            continue
        longest = config.seconds * (1.0 + config.max_tempo_percent / 100.0)
        own = _draw_grid(track, longest, generator, config)
        if isinstance(own, Refusal):
            refused.append(own)
            continue
        rate = own.period_seconds * fit.beats_per_beat / grid.period_seconds
        if abs(rate - 1.0) > config.max_tempo_percent / 100.0:
            refused.append(Refusal(track.name, "the tempo of the excerpt is too far away"))
            continue
        start = own.first_seconds - LEAD_SECONDS * rate
        return PlannedStem(source, track.name, start, rate, fit.semitones), track
    return None


def _draw_grid(
    track: TrackAnalysis, seconds: float, generator: torch.Generator, config: AutomixConfig
) -> BeatGrid | Refusal:
    """Return the grid of a random excerpt; it starts on the stronger of every two beats.

    Where the tempo was doubled, those are the beats; elsewhere, kick meets kick.
    """
    times = np.asarray(track.beats.times_seconds)
    strengths = np.asarray(track.beats.strengths)
    latest = track.duration_seconds - seconds - LEAD_SECONDS
    stronger = int(strengths[1::2].sum() > strengths[::2].sum())
    on_strong = np.arange(len(times)) % 2 == stronger
    possible = np.nonzero((times >= LEAD_SECONDS * 2) & (times <= latest) & on_strong)[0]
    if len(possible) == 0:
        return Refusal(track.name, f"no beat is {seconds:g} s before the end")
    worst = 0.0
    for _ in range(EXCERPT_TRIES):
        draw = int(torch.randint(len(possible), (1,), generator=generator))
        start = float(times[possible[draw]])
        grid = fit_grid(track.beats, start_seconds=start - 0.01, duration_seconds=seconds)
        if grid is not None and grid.error_seconds <= config.max_beat_error_seconds:
            return grid
        worst = math.inf if grid is None else max(worst, grid.error_seconds)
    found = "too few beats" if math.isinf(worst) else f"beats {1000 * worst:.0f} ms off"
    return Refusal(
        track.name,
        f"no even beat in the excerpts: {found}, the limit is "
        f"{1000 * config.max_beat_error_seconds:.0f} ms",
    )


def _shuffled(count: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(count, generator=generator).tolist()
