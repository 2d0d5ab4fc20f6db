"""Something that plays notes: the sounds of one folder of a library, or a synthesiser."""

from __future__ import annotations

import numpy as np

from audiform.data.rendering.samples import SAMPLE_RATE, Sample, SampleLibrary
from audiform.data.rendering.sound import change_speed, fade_ends, midi_to_hz, to_peak
from audiform.data.rendering.synthesiser import Patch, draw_patch, synthesise

#: Sounds of known pitch that a folder must have to be played as an instrument.
FEWEST_NOTES = 4

#: A recorded note is moved by no more than this; beyond, the nearest octave is played.
MOST_SEMITONES = 13.0

#: Name of what is no folder.
SYNTHESISER = "synthesiser"


def choose_instrument(
    library: SampleLibrary,
    rng: np.random.Generator,
    *,
    classes: tuple[str, ...],
    synthetic_share: float,
) -> str:
    """Return the name of an instrument of these classes, or of the synthesiser."""
    names = [
        name
        for name, samples in sorted(library.instruments(*classes).items())
        if sum(sample.is_pitched for sample in samples) >= FEWEST_NOTES
    ]
    if not names or rng.random() < synthetic_share:
        return SYNTHESISER
    return names[int(rng.integers(len(names)))]


class Instrument:
    """Plays notes of one ``name``; equal notes are made once.

    ``bass`` asks a synthesiser for a bass' sound, which is in the middle.
    """

    def __init__(
        self, library: SampleLibrary, name: str, rng: np.random.Generator, *, bass: bool = False
    ) -> None:
        self._library = library
        self._bass = bass
        self._notes: list[Sample] = []
        self._patch: Patch | None = None
        if name == SYNTHESISER:
            self._patch = draw_patch(rng, bass=bass)
        else:
            of_name = [sample for sample in library.samples if sample.instrument == name]
            self._notes = [sample for sample in of_name if sample.is_pitched]
        self._made: dict[tuple[float, int], np.ndarray] = {}

    def note(
        self, midi: float, seconds: float, rng: np.random.Generator, *, release_ms: float = 40.0
    ) -> np.ndarray:
        """Return a note with a peak of at most 1 that rings for ``seconds`` at most."""
        if self._patch is not None:
            sound = synthesise(self._patch, f0_hz=midi_to_hz(midi), seconds=seconds)
            if self._bass:
                sound = sound.mean(axis=0, keepdims=True)
        else:
            sound = self._recorded(midi, int(rng.integers(2)))
            sound = sound[:, : max(1, round(seconds * SAMPLE_RATE))]
        return fade_ends(sound, in_ms=1.0, out_ms=min(release_ms, 500.0 * seconds))

    def _recorded(self, midi: float, take: int) -> np.ndarray:
        """Return a recorded note moved to this pitch; ``take`` picks among the nearest two."""
        if (midi, take) not in self._made:
            away = [abs(12.0 * np.log2(s.f0_hz / midi_to_hz(midi))) for s in self._notes]
            sample = self._notes[int(np.argsort(away, kind="stable")[take])]
            semitones = 12.0 * np.log2(midi_to_hz(midi) / sample.f0_hz)
            while abs(semitones) > MOST_SEMITONES:
                semitones -= 12.0 * np.sign(semitones)
            sound = change_speed(self._library.decode(sample), 2.0 ** (semitones / 12.0))
            self._made[midi, take] = to_peak(sound, 0.7)
        return self._made[midi, take]
