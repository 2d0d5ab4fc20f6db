"""Drums: patterns for any metre, played by a kit that hears itself and is not a machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from audiform.data.rendering.form import Section
from audiform.data.rendering.rhythm import Grid, Metre
from audiform.data.rendering.samples import SAMPLE_RATE, Sample, SampleLibrary
from audiform.data.rendering.sound import add_at, amplitude, change_speed, fade_ends, pan, to_peak

#: What a kit must have.
NEEDED = frozenset({"kick", "snare"})

#: Hits of a kind that a song uses in turn.
MOST_TAKES = 5

#: Hits are cut after this, cymbals later.
LONGEST_SECONDS = {"crash": 3.5, "ride": 2.0}
LONGEST_OTHERS_SECONDS = 1.2

#: Loudness of a kind against the kick, in dB, before what is drawn.
LEVELS_DB = {
    "kick": 0.0, "snare": -1.0, "clap": -3.0, "rim": -6.0, "hat": -13.0, "hat_open": -13.0,
    "ride": -13.0, "crash": -8.0, "tom": -3.0, "perc": -11.0,
}  # fmt: skip

#: Kind -> velocity of each step of a bar, 0 where it rests.
Pattern = dict[str, np.ndarray]


@dataclass(frozen=True)
class DrumPlan:
    """Which kit and how it plays.

    ``ticks`` are steps from one hi-hat to the next, ``ghosts`` how many quiet snares there are,
    ``open_share`` and ``crash_share`` how often those are heard, ``loose_ms`` how far from the
    grid hits are and ``late_ms`` how late the snare is on top.
    """

    kit: str
    groove: str
    ticks: int
    ghosts: float
    open_share: float
    crash_share: float
    fills: float
    loose_ms: float
    late_ms: float
    backbeat: str
    ticker: str
    percussion: str | None


def kits(library: SampleLibrary) -> dict[str, list[Sample]]:
    """Return the kits that have a kick and a snare."""
    return {
        name: hits
        for name, hits in sorted(library.instruments("drums").items())
        if {hit.kind for hit in hits} >= NEEDED
    }


def draw_drums(
    library: SampleLibrary,
    rng: np.random.Generator,
    *,
    groove: str,
    metre: Metre,
    loose_ms: tuple[float, float],
) -> DrumPlan:
    """Draw a kit and a drummer."""
    found = kits(library)
    # Large acoustic kits are worth more than many small machines, and shakers make no kit.
    struck = [sum(hit.kind != "perc" for hit in hits) for hits in found.values()]
    weights = np.array(struck) ** 0.7
    kit = str(rng.choice(list(found), p=weights / weights.sum()))
    kinds = {hit.kind for hit in found[kit]}
    percussion = sorted({hit.instrument for hit in library.of_class("drums") if hit.kind == "perc"})
    backbeats = [kind for kind in ("clap", "rim") if kind in kinds]
    extra = 1.0 if groove == "percussion" else 0.25
    return DrumPlan(
        kit=kit,
        groove=groove,
        ticks=int(rng.choice([1, 2, 2, 2, 4])) if metre.steps_per_beat % 2 == 0 else 1,
        ghosts=float(rng.uniform(0.0, 0.25)),
        open_share=float(rng.uniform(0.0, 0.15)),
        crash_share=float(rng.uniform(0.1, 0.9)),
        fills=float(rng.uniform(0.2, 0.9)),
        loose_ms=float(rng.uniform(*loose_ms)),
        late_ms=float(rng.uniform(-3.0, 9.0)) * float(loose_ms[1] > 2.0),
        backbeat=str(rng.choice(backbeats)) if backbeats and rng.random() < 0.15 else "snare",
        ticker="ride" if "ride" in kinds and rng.random() < 0.2 else "hat",
        percussion=str(rng.choice(percussion)) if percussion and rng.random() < extra else None,
    )


def _some(metre: Metre, rng: np.random.Generator, share: float, velocity: float) -> np.ndarray:
    return velocity * (rng.random(metre.steps) < share) * rng.uniform(0.6, 1.0, metre.steps)


def _on(metre: Metre, beats: tuple[int, ...], velocity: float = 1.0) -> np.ndarray:
    steps = np.zeros(metre.steps)
    steps[[beat * metre.steps_per_beat for beat in beats]] = velocity
    return steps


def _ticks(metre: Metre, stride: int, velocity: float = 0.75) -> np.ndarray:
    steps = np.zeros(metre.steps)
    steps[::stride] = velocity
    steps[:: metre.steps_per_beat] = np.where(steps[:: metre.steps_per_beat], 1.0, 0.0)
    return steps


def _backbeat(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    kick = np.maximum(_on(metre, (0,)), _some(metre, rng, 0.15, 0.9))
    return {
        "kick": kick,
        "snare": np.maximum(_on(metre, metre.backbeats), _some(metre, rng, plan.ghosts / 3, 0.3)),
        "hat": _ticks(metre, plan.ticks),
    }


def _four(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    off = np.roll(_on(metre, tuple(range(metre.beats)), 0.9), metre.steps_per_beat // 2)
    return {
        "kick": _on(metre, tuple(range(metre.beats))),
        "snare": _on(metre, metre.backbeats, float(rng.uniform(0.5, 1.0))),
        "hat": _ticks(metre, plan.ticks, 0.5),
        "hat_open": off,
    }


def _half(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    middle = (metre.beats // 2,)
    return {
        "kick": np.maximum(_on(metre, (0,)), _some(metre, rng, 0.18, 0.9)),
        "snare": np.maximum(_on(metre, middle), _some(metre, rng, plan.ghosts / 3, 0.3)),
        "hat": _ticks(metre, plan.ticks),
    }


def _break(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    return {
        "kick": np.maximum(_on(metre, (0,)), _some(metre, rng, 0.25, 1.0)),
        "snare": np.maximum(
            _on(metre, metre.backbeats), _some(metre, rng, 0.1 + plan.ghosts, 0.45)
        ),
        "hat": np.maximum(_ticks(metre, plan.ticks), _some(metre, rng, 0.2, 0.5)),
    }


def _trap(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    return {**_half(metre, rng, plan), "hat": np.full(metre.steps, 0.7) * rng.uniform(0.7, 1.0)}


def _blast(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    half = max(1, metre.steps_per_beat // 2)
    kick, snare = np.zeros(metre.steps), np.zeros(metre.steps)
    kick[:: int(rng.choice([1, half]))] = 0.9
    snare[half :: 2 * half] = 0.95
    if rng.random() < 0.5:
        snare = _on(metre, metre.backbeats)
    return {"kick": kick, "snare": snare, "hat": _ticks(metre, half)}


def _brushes(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    soft = np.maximum(_ticks(metre, max(1, plan.ticks), 0.2) * 0.5, _on(metre, metre.backbeats))
    return {"kick": _on(metre, (0,), 0.7), "snare": soft * 0.6, "hat": _on(metre, metre.backbeats)}


def _one_drop(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    drop = _on(metre, (metre.beats // 2,))
    return {
        "kick": drop,
        "rim": drop,
        "snare": _some(metre, rng, 0.05, 0.4),
        "hat": _ticks(metre, 2),
    }


def _jazz(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    ride = _on(metre, tuple(range(metre.beats)))
    for beat in metre.backbeats:
        ride[(beat + 1) * metre.steps_per_beat - 1] = 0.6
    return {
        "ride": ride,
        "hat": _on(metre, metre.backbeats, 0.7),
        "kick": _some(metre, rng, 0.1, 0.5),
        "snare": _some(metre, rng, 0.12, 0.45),
    }


def _percussion(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    return {
        "kick": np.maximum(_on(metre, (0,), 0.8), _some(metre, rng, 0.1, 0.7)),
        "rim": _some(metre, rng, 0.25, 0.7),
        "hat": _ticks(metre, 2),
    }


def _none(metre: Metre, rng: np.random.Generator, plan: DrumPlan) -> Pattern:
    return {}


#: Name, as styles give it -> pattern of a bar.
GROOVES: dict[str, Callable[[Metre, np.random.Generator, DrumPlan], Pattern]] = {
    "backbeat": _backbeat,
    "four": _four,
    "half": _half,
    "break": _break,
    "trap": _trap,
    "blast": _blast,
    "brushes": _brushes,
    "one drop": _one_drop,
    "jazz": _jazz,
    "percussion": _percussion,
    "none": _none,
}


@dataclass(frozen=True)
class Take:
    """A hit as a kit plays it: its speed, its place between the speakers, its gain."""

    hit: Sample
    ratio: float
    position: float
    gain: float


class Kit:
    """The sounds of a kit at one place each between the speakers; made when first struck."""

    def __init__(self, library: SampleLibrary, plan: DrumPlan, rng: np.random.Generator) -> None:
        by_kind: dict[str, list[Sample]] = {}
        for hit in library.of_class("drums"):
            if hit.instrument == plan.kit or (
                hit.instrument == plan.percussion and hit.kind == "perc"
            ):
                by_kind.setdefault(hit.kind, []).append(hit)
        tuning = float(rng.normal(0.0, 0.8))
        self._takes = {
            kind: _draw_takes(kind, hits, rng, tuning=tuning)
            for kind, hits in sorted(by_kind.items())
        }
        self._library = library
        self._made: dict[Take, np.ndarray] = {}

    def hit(self, kind: str, rng: np.random.Generator) -> np.ndarray | None:
        """Return a take of a sound, None where the kit has none of its kind."""
        takes = self._takes.get(kind)
        if takes is None:
            return None
        take = takes[int(rng.integers(len(takes)))]
        if take not in self._made:
            self._made[take] = self._make(take)
        return self._made[take]

    def _make(self, take: Take) -> np.ndarray:
        longest = LONGEST_SECONDS.get(take.hit.kind, LONGEST_OTHERS_SECONDS)
        used = round(longest * take.ratio * SAMPLE_RATE)
        sound = change_speed(self._library.decode(take.hit)[:, :used], take.ratio)
        sound = fade_ends(to_peak(sound, 0.8), in_ms=0.1, out_ms=40.0)
        return pan(sound, take.position) * np.float32(take.gain)


def _draw_takes(
    kind: str, hits: list[Sample], rng: np.random.Generator, *, tuning: float
) -> list[Take]:
    chosen = [hits[int(index)] for index in rng.permutation(len(hits))[:MOST_TAKES]]
    width = 0.5 if kind in ("tom", "ride", "hat", "hat_open", "crash", "perc") else 0.05
    place = rng.uniform(-width, width)
    gain = float(amplitude(rng.normal(0.0, 2.0)) * amplitude(LEVELS_DB.get(kind, -6.0)))
    ratio = float(2.0 ** ((tuning + rng.normal(0.0, 0.7)) / 12.0))
    return [
        Take(hit, ratio, float(np.clip(place + rng.normal(0.0, width / 4), -1.0, 1.0)), gain)
        for hit in chosen
    ]


def play_drums(
    track: np.ndarray,
    library: SampleLibrary,
    plan: DrumPlan,
    grid: Grid,
    sections: tuple[Section, ...],
    rng: np.random.Generator,
) -> list[int]:
    """Add the drums to ``track``; return the samples at which the kick sounds."""
    kit = Kit(library, plan, rng)
    kicks: list[int] = []

    def strike(kind: str, bar: int, step: float, velocity: float) -> None:
        late_ms = rng.normal(0.0, plan.loose_ms) + (plan.late_ms if kind == "snare" else 0.0)
        onset = round((grid.seconds(bar, step) + late_ms / 1000.0) * SAMPLE_RATE)
        sound = kit.hit(kind, rng)
        if sound is not None:
            add_at(track, sound * np.float32(velocity**1.5), onset)
            if kind == "kick":
                kicks.append(max(0, onset))

    patterns: dict[str, Pattern] = {}
    for section in sections:
        if section.name not in patterns:
            patterns[section.name] = _varied(plan, grid.metre, rng)
        if not section.drums:
            continue
        for bar in section.bars:
            filled = bar == section.bars[-1] and rng.random() < plan.fills
            _play_bar(strike, plan, grid.metre, patterns[section.name], section, bar, filled, rng)
    return sorted(kicks)


def _varied(plan: DrumPlan, metre: Metre, rng: np.random.Generator) -> Pattern:
    """Return a pattern in the names of what this drummer strikes."""
    names = {"snare": plan.backbeat, "hat": plan.ticker}
    pattern = GROOVES[plan.groove](metre, rng, plan)
    renamed = {names.get(kind, kind): steps for kind, steps in pattern.items()}
    if plan.percussion is not None and pattern:
        renamed["perc"] = _some(metre, rng, float(rng.uniform(0.1, 0.5)), 0.9)
    return renamed


def _play_bar(
    strike: Callable[[str, int, float, float], None],
    plan: DrumPlan,
    metre: Metre,
    pattern: Pattern,
    section: Section,
    bar: int,
    filled: bool,
    rng: np.random.Generator,
) -> None:
    loud = 0.55 + 0.45 * section.energy
    if pattern and bar == section.first_bar and rng.random() < plan.crash_share * section.energy:
        strike("crash", bar, 0, loud * float(rng.uniform(0.6, 1.0)))
    fill_from = metre.steps - metre.steps_per_beat * int(rng.integers(1, 3)) if filled else None
    for kind, velocities in pattern.items():
        for step in np.flatnonzero(velocities).tolist():
            if fill_from is not None and step >= fill_from and kind != "kick":
                continue
            sounding = kind
            if kind == "hat" and rng.random() < plan.open_share:
                sounding = "hat_open"
            strike(sounding, bar, step, loud * velocities[step] * float(rng.uniform(0.85, 1)))
            if plan.groove == "trap" and kind == "hat" and rng.random() < 0.12:
                strike(kind, bar, step + 0.5, loud * 0.5)
    if fill_from is not None and pattern:
        for step in range(fill_from, metre.steps):
            if rng.random() < 0.75:
                kind = "tom" if rng.random() < 0.6 else "snare"
                strike(kind, bar, step, loud * float(rng.uniform(0.5, 1.0)))
