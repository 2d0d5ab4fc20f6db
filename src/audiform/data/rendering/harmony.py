"""Keys, scales and chords."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Semitones above the tonic; all of seven notes, so that every third one of them is a chord.
MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}

#: Degrees of the scale on which chords stand, one for a bar.
PROGRESSIONS = (
    (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 0, 3, 4), (0, 6, 5, 4),
    (1, 4, 0, 0), (0, 2, 3, 4), (0, 3, 0, 4), (3, 4, 2, 5), (0, 6), (0, 3), (0, 5), (0,),
    (0, 6, 3, 0), (5, 4, 3, 4), (0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4),
)  # fmt: skip

#: Degrees of the scale that are left where melodies have five notes.
FIVE_NOTES = {
    "major": (0, 1, 2, 4, 5),
    "mixolydian": (0, 1, 2, 4, 5),
}
FIVE_NOTES_DARK = (0, 2, 3, 4, 6)


@dataclass(frozen=True)
class Key:
    """A tonic (0 is C, 11 is B) and the name of a mode."""

    tonic: int
    mode: str

    def midi(self, degree: int, *, near: float) -> int:
        """Return the note on a degree of the scale, degree 0 being the tonic next to ``near``.

        >>> Key(9, "minor").midi(2, near=57)
        60
        """
        scale = MODES[self.mode]
        octave, place = divmod(degree, len(scale))
        tonic = self.tonic + 12 * round((near - self.tonic) / 12.0)
        return tonic + scale[place] + 12 * octave

    def chord(self, degree: int, *, near: float, size: int = 3) -> list[int]:
        """Return thirds stacked on a degree, ``size`` notes."""
        return [self.midi(degree + 2 * place, near=near) for place in range(size)]

    @property
    def melodic(self) -> tuple[int, ...]:
        """Degrees of the five-note scale of this mode."""
        return FIVE_NOTES.get(self.mode, FIVE_NOTES_DARK)

    @property
    def pitch_classes(self) -> frozenset[int]:
        """Notes of the scale in any octave, 0 to 11."""
        return frozenset((self.tonic + step) % 12 for step in MODES[self.mode])


def inverted(chord: list[int], *, centre: float) -> list[int]:
    """Return the notes of a chord, each in the octave that is nearest to ``centre``."""
    return sorted(note + 12 * round((centre - note) / 12.0) for note in chord)


def draw_progression(rng: np.random.Generator) -> tuple[int, ...]:
    """Draw degrees, one for a bar."""
    return PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
