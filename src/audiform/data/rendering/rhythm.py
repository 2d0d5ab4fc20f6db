"""When things sound: metre, tempo, swing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metre:
    """Beats of a bar, steps of a beat, and the beats on which a snare answers."""

    name: str
    beats: int
    steps_per_beat: int
    backbeats: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Steps of a bar."""
        return self.beats * self.steps_per_beat


METRES = {
    metre.name: metre
    for metre in (
        Metre("4/4", 4, 4, (1, 3)),
        Metre("3/4", 3, 4, (2,)),
        Metre("6/8", 2, 6, (1,)),
        Metre("12/8", 4, 3, (1, 3)),
        Metre("5/4", 5, 4, (2, 4)),
        Metre("7/8", 7, 2, (2, 5)),
    )
}


@dataclass(frozen=True)
class Grid:
    """Steps in seconds. ``swing`` delays every second step by that share of it."""

    metre: Metre
    bpm: float
    swing: float

    @property
    def step_seconds(self) -> float:
        """Length of a step."""
        return 60.0 / self.bpm / self.metre.steps_per_beat

    @property
    def bar_seconds(self) -> float:
        """Length of a bar."""
        return self.step_seconds * self.metre.steps

    def seconds(self, bar: int, step: float) -> float:
        """Return when a step of a bar sounds; a step may lie beyond its bar."""
        late = self.swing if self.metre.steps_per_beat % 2 == 0 and step % 2 == 1 else 0.0
        return bar * self.bar_seconds + (step + late) * self.step_seconds
