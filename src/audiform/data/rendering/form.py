"""What follows what in a song, and who rests meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.rendering.harmony import draw_progression

#: Orders of sections; a song is as much of one as fits.
FORMS = (
    "intro verse chorus verse chorus break chorus outro",
    "verse chorus verse chorus solo chorus",
    "intro verse build chorus verse build chorus bridge chorus chorus outro",
    "chorus verse chorus verse bridge chorus",
    "intro verse verse bridge verse solo verse outro",
    "intro build chorus break build chorus outro",
    "verse verse chorus solo verse chorus",
    "intro chorus verse break chorus verse chorus outro",
)

#: How loud sections are played, from 0 to 1.
ENERGY = {
    "intro": 0.45, "verse": 0.6, "build": 0.75, "chorus": 1.0, "break": 0.35, "bridge": 0.65,
    "solo": 0.9, "outro": 0.45,
}  # fmt: skip

#: How often a group plays in a section.
PRESENCE = {
    "intro": {"drums": 0.5, "bass": 0.45, "other": 0.65, "vocals": 0.12},
    "verse": {"drums": 0.92, "bass": 0.9, "other": 0.6, "vocals": 0.9},
    "build": {"drums": 0.85, "bass": 0.8, "other": 0.75, "vocals": 0.8},
    "chorus": {"drums": 0.97, "bass": 0.97, "other": 0.9, "vocals": 0.93},
    "break": {"drums": 0.25, "bass": 0.3, "other": 0.5, "vocals": 0.35},
    "bridge": {"drums": 0.75, "bass": 0.75, "other": 0.65, "vocals": 0.5},
    "solo": {"drums": 0.97, "bass": 0.95, "other": 0.8, "vocals": 0.12},
    "outro": {"drums": 0.55, "bass": 0.55, "other": 0.65, "vocals": 0.3},
}

#: How often a part of ``other`` plays where that plays.
PART_PRESENCE = 0.75

#: How often the last choruses are higher than the first, and by how much.
LIFT_SHARE = 0.07
LIFT_SEMITONES = (1, 2)


@dataclass(frozen=True)
class Section:
    """Some bars: where they begin, their chords (a degree for each bar), and who plays in them.

    ``parts`` are numbers of the parts of ``other``. ``lift`` is by how many semitones all is
    higher.
    """

    name: str
    first_bar: int
    chords: tuple[int, ...]
    energy: float
    drums: bool
    bass: bool
    vocals: bool
    parts: tuple[int, ...]
    lift: int = 0

    @property
    def bars(self) -> range:
        """Its bars, counted from the song's first."""
        return range(self.first_bar, self.first_bar + len(self.chords))

    def chord(self, bar: int) -> int:
        """Return the degree of a bar."""
        return self.chords[bar - self.first_bar]


def draw_form(rng: np.random.Generator, *, num_bars: int, num_parts: int) -> tuple[Section, ...]:
    """Draw sections of ``num_bars`` in all, in which at least one group always plays."""
    names = FORMS[int(rng.integers(len(FORMS)))].split()
    length = int(min(8, max(2, 2 ** round(np.log2(max(1.0, num_bars / len(names)))))))
    progressions = {name: draw_progression(rng) for name in dict.fromkeys(names)}
    lift = int(rng.choice(LIFT_SEMITONES)) if rng.random() < LIFT_SHARE else 0
    sections: list[Section] = []
    bar = 0
    while bar < num_bars:
        name = names[len(sections) % len(names)]
        short = name in ("intro", "outro", "build", "break") and length > 2
        bars = min(num_bars - bar, length // 2 if short else length)
        chords = progressions[name]
        plays = {group: rng.random() < share for group, share in PRESENCE[name].items()}
        parts = [part for part in range(num_parts) if rng.random() < PART_PRESENCE]
        parts = parts if plays["other"] else []
        if not parts and (plays["other"] or not any(plays.values())):
            parts = [int(rng.integers(num_parts))]
        sections.append(
            Section(
                name=name,
                first_bar=bar,
                chords=tuple(chords[index % len(chords)] for index in range(bars)),
                energy=float(np.clip(ENERGY[name] + rng.normal(0.0, 0.05), 0.2, 1.0)),
                drums=bool(plays["drums"]),
                bass=bool(plays["bass"]),
                vocals=bool(plays["vocals"]),
                parts=tuple(parts),
                lift=lift if name == "chorus" and bar > 0.6 * num_bars else 0,
            )
        )
        bar += bars
    return tuple(sections)
