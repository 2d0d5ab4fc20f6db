"""The vocals of a song: one lead, and what is laid around it.

The lead is singing as it was recorded, moved into the key; or speech that sings the song's
melody; or speech as it is. Sections of one name are sung alike, mostly the same take. Choruses
get doubles, harmonies and calls in between.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from audiform.data.rendering.form import Section
from audiform.data.rendering.harmony import Key
from audiform.data.rendering.melody import (
    MelodyPlan,
    Note,
    Phrase,
    draw_melody_plan,
    harmonised,
    section_melody,
)
from audiform.data.rendering.rhythm import Grid
from audiform.data.rendering.samples import SAMPLE_RATE, SampleLibrary
from audiform.data.rendering.singing import (
    Manner,
    as_recorded,
    as_spoken,
    best_shift,
    breaths,
    draw_manner,
    sing,
)
from audiform.data.rendering.sound import (
    add_at,
    amplitude,
    change_speed,
    fade_ends,
    pan,
    silence,
    to_peak,
)
from audiform.data.rendering.voice import FULL_BAND_HZ, PIECE_SECONDS, Voice, Voices

#: Share of the sung songs whose singing was recorded as such, if the library has any.
REAL_SHARE = 0.4

#: Share of voices that were recorded in a narrow band, among those that sing a melody.
NARROW_SHARE = 0.4

#: Singers over a band lie so many semitones above where they speak.
ABOVE_SPEECH = (4.0, 15.0)

#: Shortest recording of a voice that is used.
SHORTEST_SECONDS = 3.0


@dataclass(frozen=True)
class VocalPlan:
    """Who sings what, how.

    ``source`` is recorded, sung or spoken. ``doubles_db`` and ``harmonies_db`` are levels
    against the lead, None where there are none; ``thirds`` where harmonies lie; ``calls`` how
    often somebody answers in a rest of a late chorus.
    """

    source: str
    voice: str
    piece: int
    manner: Manner
    melody: MelodyPlan
    doubles_db: float | None
    harmonies_db: float | None
    thirds: tuple[int, ...]
    calls: float


def draw_vocals(
    library: SampleLibrary, voices: Voices, rng: np.random.Generator, grid: Grid, *, spoken: float
) -> VocalPlan:
    """Draw a singer; ``spoken`` is how often a voice speaks."""
    able = [sample for sample in library.of_class("voices") if sample.seconds >= SHORTEST_SECONDS]
    narrow = [s for s in library.of_class("voices_16k") if s.seconds >= SHORTEST_SECONDS]
    sung = [sample for sample in able if sample.is_sung and sample.band_hz >= FULL_BAND_HZ]
    source = "spoken" if rng.random() < spoken else "sung"
    if source == "sung" and sung and rng.random() < REAL_SHARE:
        source = "recorded"
    speakers = [sample for sample in able if sample.is_pitched] or able
    if narrow and (not speakers or rng.random() < NARROW_SHARE):
        speakers = narrow
    chosen = sung if source == "recorded" else speakers
    sample = chosen[int(rng.integers(len(chosen)))]
    manner = draw_manner(rng)
    usual = 69.0 + 12.0 * np.log2(max(sample.f0_hz, 80.0) * manner.tract / 440.0)
    return VocalPlan(
        source=source,
        voice=sample.path.relative_to(library.folder).as_posix(),
        piece=int(rng.integers(voices.num_pieces(sample))),
        manner=manner,
        melody=draw_melody_plan(
            rng,
            centre=float(np.clip(usual + rng.uniform(*ABOVE_SPEECH), 50.0, 76.0)),
            bar_seconds=grid.bar_seconds,
        ),
        doubles_db=float(rng.uniform(-12.0, -3.0)) if rng.random() < 0.45 else None,
        harmonies_db=float(rng.uniform(-14.0, -5.0)) if rng.random() < 0.4 else None,
        thirds=((1,), (-1,), (1, -1), (2,))[int(rng.integers(4))],
        calls=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.35 else 0.0,
    )


class Sung(NamedTuple):
    """The lead and what is behind it, tracks (2, time)."""

    lead: np.ndarray
    behind: np.ndarray


class _Take(NamedTuple):
    phrase: Phrase
    sound: np.ndarray


class Singer:
    """Sings the phrases of a song; a phrase that was sung is not sung anew."""

    def __init__(
        self, library: SampleLibrary, voices: Voices, plan: VocalPlan, rng: np.random.Generator
    ) -> None:
        path = library.folder / plan.voice
        sample = next(s for s in library.of_class("voices", "voices_16k") if s.path == path)
        self._plan = plan
        self._rng = rng
        self._voice: Voice = voices.piece(sample, plan.piece)
        first = round(plan.piece * PIECE_SECONDS * SAMPLE_RATE)
        self._audio = library.decode(sample)[:, first:]
        self._breaths = breaths(self._voice)
        self._next = int(rng.integers(1000))
        self._sung: dict[tuple[Note, ...], np.ndarray] = {}
        self._said: dict[tuple[int, int, int], np.ndarray] = {}

    def lead(self, section: Section, grid: Grid, key: Key, melody: list[Phrase]) -> list[_Take]:
        """Return the takes of a section."""
        if self._plan.source == "sung":
            return [_Take(phrase, self._on_melody(phrase)) for phrase in melody]
        return self._in_breaths(section, grid, key)

    def harmony(self, phrase: Phrase, key: Key, thirds: int) -> np.ndarray:
        """Return a phrase of a melody sung higher or lower."""
        return self._on_melody(harmonised(phrase, key, thirds=thirds))

    def _on_melody(self, phrase: Phrase) -> np.ndarray:
        if phrase.notes not in self._sung:
            # a harmony has the words of the lead
            words = sum(map(ord, "".join(phrase.name.split(" ")[:2]))) + self._next
            rng = np.random.default_rng([words, *(note.midi for note in phrase.notes)])
            self._sung[phrase.notes] = sing(
                self._voice, phrase, self._plan.manner, rng, first=words
            )
        return self._sung[phrase.notes]

    def _in_breaths(self, section: Section, grid: Grid, key: Key) -> list[_Take]:
        """Return phrases as they were said or sung, one after another from beats on."""
        takes: list[_Take] = []
        if not self._breaths:
            return takes
        now = grid.seconds(section.first_bar, 0)
        end = grid.seconds(section.bars[-1] + 1, 0)
        number = sum(map(ord, section.name))
        while now < end - 0.5 * grid.bar_seconds:
            start, stop = self._breaths[(self._next + number) % len(self._breaths)]
            shift = best_shift(self._voice, start, stop, key, lift=section.lift)
            sound = self._spoken_or_recorded(start, stop, shift)
            seconds = min(sound.shape[-1] / SAMPLE_RATE, end - now + grid.bar_seconds / 2)
            sound = fade_ends(sound[:, : round(seconds * SAMPLE_RATE)], in_ms=0.0, out_ms=50.0)
            note = Note(0.0, seconds, 60)
            takes.append(_Take(Phrase(f"{section.name} {number}", now, (note,)), sound))
            rest = float(self._rng.choice([0.25, 0.5, 1.0])) * grid.bar_seconds
            now += np.ceil((seconds + 0.2 * rest) / (grid.bar_seconds / 2)) * grid.bar_seconds / 2
            number += 1
        return takes

    def _spoken_or_recorded(self, start: int, stop: int, shift: int) -> np.ndarray:
        place = (start, stop, shift)
        if place not in self._said:
            if self._plan.source == "spoken":
                sound = as_spoken(self._voice, start, stop, tract=self._plan.manner.tract)
            else:
                sound = as_recorded(self._audio, start, stop, semitones=shift)
            self._said[place] = sound
        return self._said[place]


def sing_song(
    library: SampleLibrary,
    voices: Voices,
    plan: VocalPlan,
    grid: Grid,
    key: Key,
    sections: tuple[Section, ...],
    rng: np.random.Generator,
    *,
    seconds: float,
) -> Sung:
    """Return the vocals, dry."""
    singer = Singer(library, voices, plan, rng)
    lead, behind = silence(seconds), silence(seconds)
    melodies: dict[tuple[str, int], list[Phrase]] = {}
    for section in sections:
        if not section.vocals:
            continue
        name = (section.name, len(section.chords))
        if name not in melodies:
            melodies[name] = section_melody(plan.melody, grid, key, section, rng)
        melody = _moved(melodies[name], section, grid)
        takes = singer.lead(section, grid, key, melody)
        for take in takes:
            gain = amplitude(rng.normal(0.0, 1.0)) * np.float32(0.7 + 0.3 * section.energy)
            sound = to_peak(take.sound, 0.7) * gain
            add_at(lead, sound, round(take.phrase.onset_seconds * SAMPLE_RATE))
            if section.name in ("chorus", "build", "bridge"):
                _lay_behind(behind, take, sound, singer, plan, key, rng)
    return Sung(lead, behind)


def _moved(melody: list[Phrase], section: Section, grid: Grid) -> list[Phrase]:
    """Return the phrases of an earlier section of this name where, and how high, this one is."""
    if not melody:
        return melody
    begin = grid.seconds(section.first_bar, 0)
    earlier = melody[0].onset_seconds
    return [
        Phrase(
            f"{phrase.name} +{section.lift}",
            begin + phrase.onset_seconds - earlier,
            tuple(Note(**{**asdict(n), "midi": n.midi + section.lift}) for n in phrase.notes),
        )
        for phrase in melody
    ]


def _lay_behind(
    track: np.ndarray,
    take: _Take,
    sound: np.ndarray,
    singer: Singer,
    plan: VocalPlan,
    key: Key,
    rng: np.random.Generator,
) -> None:
    onset = take.phrase.onset_seconds
    if plan.doubles_db is not None:
        for side in (-1.0, 1.0):
            late = onset + float(rng.uniform(0.008, 0.035))
            detuned = change_speed(sound, 2.0 ** (float(rng.uniform(4.0, 18.0)) * side / 1200.0))
            doubled = pan(detuned, side * float(rng.uniform(0.4, 1.0)))
            add_at(track, doubled * amplitude(plan.doubles_db), round(late * SAMPLE_RATE))
    if plan.harmonies_db is not None and plan.source == "sung":
        for thirds in plan.thirds:
            harmony = to_peak(singer.harmony(take.phrase, key, thirds), 0.7)
            placed = pan(harmony, float(rng.uniform(-0.8, 0.8)))
            late = onset + float(rng.uniform(-0.01, 0.02))
            add_at(track, placed * amplitude(plan.harmonies_db), round(late * SAMPLE_RATE))
    if rng.random() < plan.calls:
        called = fade_ends(sound[:, -round(1.2 * SAMPLE_RATE) :], in_ms=30.0, out_ms=60.0)
        late = onset + sound.shape[-1] / SAMPLE_RATE + 0.1
        placed = pan(called, float(rng.uniform(-0.9, 0.9))) * amplitude(-8.0)
        add_at(track, placed, round(late * SAMPLE_RATE))
