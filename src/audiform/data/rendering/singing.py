"""Phrases that are sung: syllables of a voice on the notes of a melody, or singing as it is.

A syllable is a stretch around a peak of loudness among voiced frames. Its consonants keep their
time, its vowel is held for as long as the note lasts; pitch glides from note to note, overshoots
a little, wavers and, on long notes, swings.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from audiform.data.rendering.harmony import Key
from audiform.data.rendering.melody import Note, Phrase
from audiform.data.rendering.samples import SAMPLE_RATE
from audiform.data.rendering.sound import change_speed, fade_ends
from audiform.data.rendering.voice import FRAMES_PER_SECOND, Voice, put_together

#: A syllable is the loudest among so many frames.
SYLLABLE_FRAMES = 24

#: Frames that are this much below the loudest are pauses.
PAUSE_DB = 38.0

#: A consonant takes no more than this share of a note at either end.
CONSONANT_SHARE = 0.4

#: Frames around a vowel's middle that are passed through, so that a held vowel is not frozen.
VOWEL_FRAMES = 8

#: A pause of this length ends a phrase of real singing.
BREATH_FRAMES = 50

#: Real singing is moved by no more than this.
MOST_SEMITONES = 4


@dataclass(frozen=True)
class Manner:
    """How someone sings.

    ``glide_ms`` from note to note, ``vibrato_cents`` and ``vibrato_hz`` of long notes,
    ``waver_cents`` of all. A corrected pitch has next to none of it. ``tract`` is the length of
    the vocal tract against that of the speaker, ``breath`` how much of it is heard.
    """

    glide_ms: float
    vibrato_cents: float
    vibrato_hz: float
    waver_cents: float
    tract: float


def draw_manner(rng: np.random.Generator) -> Manner:
    """Draw a manner; a sixth of the singers are corrected by a machine."""
    corrected = rng.random() < 0.17
    return Manner(
        glide_ms=float(rng.uniform(5.0, 15.0) if corrected else rng.uniform(30.0, 110.0)),
        vibrato_cents=float(0.0 if corrected else rng.uniform(0.0, 70.0)),
        vibrato_hz=float(rng.uniform(4.5, 6.8)),
        waver_cents=float(0.0 if corrected else rng.uniform(4.0, 22.0)),
        tract=float(np.clip(2.0 ** rng.normal(0.0, 0.12), 0.82, 1.22)),
    )


def syllables(voice: Voice) -> list[tuple[int, int, int]]:
    """Return the first frame, the middle of the vowel and the end of each syllable."""
    level = np.convolve(voice.level_db, np.ones(9) / 9, mode="same")
    loud = voice.voiced & (level > level.max() - PAUSE_DB)
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(level, SYLLABLE_FRAMES // 2, constant_values=-np.inf), SYLLABLE_FRAMES + 1
    )
    peaks = np.flatnonzero(loud & (level >= around.max(axis=1))).tolist()
    valleys = [first + int(np.argmin(level[first:last])) for first, last in pairwise(peaks)]
    starts = [max(0, peaks[0] - 40), *valleys] if peaks else []
    ends = [*valleys, min(len(level), peaks[-1] + 40)] if peaks else []
    return [
        (max(start, peak - 60), peak, min(end, peak + 60))
        for start, peak, end in zip(starts, peaks, ends, strict=True)
    ]


def sing(
    voice: Voice, phrase: Phrase, manner: Manner, rng: np.random.Generator, *, first: int
) -> np.ndarray:
    """Return a phrase sung (1, time): a note for each syllable from number ``first`` on.

    A voice without syllables is silent.
    """
    found = syllables(voice)
    length = round(phrase.seconds * FRAMES_PER_SECOND) + 12
    if not found:
        return np.zeros((1, length * SAMPLE_RATE // FRAMES_PER_SECOND), dtype=np.float32)
    frames = np.zeros(length, dtype=int)
    sounding = np.zeros(length, dtype=bool)
    for index, note in enumerate(phrase.notes):
        start, middle, end = found[(first + index) % len(found)]
        begin = round(note.onset_seconds * FRAMES_PER_SECOND)
        stop = min(length, begin + max(10, round(note.seconds * FRAMES_PER_SECOND)))
        places = _held(start, middle, end, stop - begin, rng)
        frames[begin:stop], sounding[begin:stop] = places, True
    pitch = _pitch(phrase.notes, manner, length, rng)
    audio = put_together(voice, frames, pitch, tract=manner.tract)
    gain = np.repeat(sounding, SAMPLE_RATE // FRAMES_PER_SECOND).astype(np.float32)
    smooth = round(0.012 * SAMPLE_RATE)
    gain = np.convolve(gain, np.hanning(smooth) / np.hanning(smooth).sum(), mode="same")
    usable = min(len(gain), len(audio))
    sung = (audio[:usable] * gain[:usable]).astype(np.float32)
    return fade_ends(sung[None], in_ms=5.0, out_ms=40.0)


def _held(start: int, middle: int, end: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return a frame of the voice for each of ``length``: consonants as they are, vowel held."""
    longest = int(CONSONANT_SHARE * length)
    before = np.arange(max(start, middle - longest), middle)
    after = np.arange(middle, min(end, middle + longest))
    held = max(0, length - len(before) - len(after))
    turns = np.linspace(0.0, np.pi * max(1.0, held / 40.0), held)
    sway = np.round(np.sin(turns) * min(VOWEL_FRAMES, len(before), len(after)) / 2).astype(int)
    return np.concatenate([before, middle + sway, after])[:length]


def _pitch(
    notes: tuple[Note, ...], manner: Manner, length: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the pitch in Hz of each frame."""
    midi = np.full(length, float(notes[0].midi))
    swing = np.zeros(length)
    for note in notes:
        begin = round(note.onset_seconds * FRAMES_PER_SECOND)
        midi[begin:] = note.midi
        lasting = np.arange(max(0, length - begin)) / FRAMES_PER_SECOND
        grown = np.clip((lasting - 0.25) / 0.3, 0.0, 1.0) * (lasting < note.seconds)
        swing[begin:] = grown * np.sin(2 * np.pi * manner.vibrato_hz * lasting)
    glide = max(3, round(manner.glide_ms / 1000.0 * FRAMES_PER_SECOND))
    kernel = np.hanning(glide + 2)[1:-1]
    padded = np.pad(midi, (glide // 2, glide - 1 - glide // 2), mode="edge")
    midi = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    waver = np.convolve(rng.normal(0.0, 1.0, length + 30), np.hanning(31) / 4.0, mode="valid")
    cents = manner.vibrato_cents * swing + manner.waver_cents * waver
    return np.asarray(440.0 * 2.0 ** ((midi + cents / 100.0 - 69.0) / 12.0))


def breaths(voice: Voice, *, longest_seconds: float = 7.0) -> list[tuple[int, int]]:
    """Return first and last frame of the phrases of a voice as it is."""
    loud = voice.level_db > voice.level_db.max() - PAUSE_DB
    found: list[tuple[int, int]] = []
    places = np.flatnonzero(loud)
    if not places.size:
        return found
    gaps = np.flatnonzero(np.diff(places) > BREATH_FRAMES)
    firsts = [places[0], *places[gaps + 1]]
    lasts = [*places[gaps], places[-1]]
    longest = round(longest_seconds * FRAMES_PER_SECOND)
    for first, last in zip(firsts, lasts, strict=True):
        for start in range(int(first), int(last), longest):
            stop = min(start + longest, int(last))
            if stop - start > FRAMES_PER_SECOND // 2:
                found.append((start, stop))
    return found


def best_shift(voice: Voice, start: int, stop: int, key: Key, *, lift: int) -> int:
    """Return by how many semitones frames of real singing are moved to lie in a key best."""
    pitch = voice.pitch_hz[start:stop]
    sung = pitch[pitch > 0]
    if not sung.size:
        return 0
    notes = np.round(69.0 + 12.0 * np.log2(sung / 440.0)).astype(int)
    in_scale = {
        shift: np.isin((notes + shift - lift) % 12, list(key.pitch_classes)).mean()
        - 0.02 * abs(shift)
        for shift in range(-MOST_SEMITONES, MOST_SEMITONES + 1)
    }
    return max(in_scale, key=lambda shift: in_scale[shift])


def as_recorded(audio: np.ndarray, start: int, stop: int, *, semitones: float) -> np.ndarray:
    """Return frames of a recording (1, time), moved."""
    samples = SAMPLE_RATE // FRAMES_PER_SECOND
    piece = audio[:, max(0, start - 8) * samples : (stop + 12) * samples].mean(axis=0)[None]
    return fade_ends(change_speed(piece, 2.0 ** (semitones / 12.0)), in_ms=20.0, out_ms=60.0)


def as_spoken(voice: Voice, start: int, stop: int, *, tract: float) -> np.ndarray:
    """Return frames of a voice (1, time) with their own pitch, and the treble they should have."""
    frames = np.arange(start, stop)
    audio = put_together(voice, frames, voice.pitch_hz[frames] * tract, tract=tract)
    return fade_ends(audio[None], in_ms=10.0, out_ms=60.0)
