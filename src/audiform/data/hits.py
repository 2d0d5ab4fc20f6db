"""Hits whose beginnings are known, to learn where hits begin: notes of a folder, or made up."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from audiform.data.decoded import DecodedAudio, OpenFiles
from audiform.data.inverse_tasks import FADE_SECONDS, NoteSource, synthetic_note
from audiform.errors import DataError

#: A note begins where it first has this share of the peak of so many seconds.
ATTACK_SHARE, SEARCHED_SECONDS = 0.1, 0.5

#: Hits follow each other after so many seconds, evenly in their logarithm.
GAP_SECONDS = (0.07, 0.8)

#: Levels of hits and of the noise under them, in dB.
HIT_DB, BED_DB = (-24.0, -3.0), (-90.0, -40.0)

#: In so many cases a hit ends the one before, and in so many it is two notes at once.
CHOKED_SHARE, DOUBLE_SHARE = 0.5, 0.2

#: No note lasts longer; its end is faded out over a fifth of that.
LONGEST_SECONDS = 1.2

#: A frame whose middle is so many hops from a hit's beginning is no part of it.
LABEL_HOPS = 1.5


@dataclass(frozen=True)
class FolderNotes:
    """The beginnings of short recordings: single notes and hits, of random polarity."""

    recordings: tuple[DecodedAudio, ...]
    files: OpenFiles = field(default_factory=OpenFiles, compare=False)

    def __post_init__(self) -> None:
        if not self.recordings:
            raise DataError("there are no short recordings to take hits from; give some")

    def __call__(self, rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
        """Return ``samples`` samples of a peak of 1; silence follows where the note is over."""
        audio = self.recordings[int(rng.integers(len(self.recordings)))]
        searched = round(SEARCHED_SECONDS * sample_rate)
        whole = self.files.read(audio, start_samples=0, num_samples=samples + searched)
        sound = whole.mean(axis=0)
        begin = attack(sound[:searched])
        note = sound[begin : begin + samples].astype(float)
        peak = max(np.abs(note).max(), 1e-6)
        return note * (float(rng.choice([-1.0, 1.0])) / peak)


def attack(sound: np.ndarray) -> int:
    """Return the sample at which a note begins, 0 of silence."""
    level = np.abs(sound)
    return int(np.argmax(level >= ATTACK_SHARE * level.max()))


@dataclass(frozen=True)
class HitExamples:
    """``dry`` (1, 1, time) and ``hits`` (1, frame): 1 where a hit begins, less next to it.

    Frame k is centred on sample ``k hop_length + n_fft / 2``. In ``synthetic_share`` of the
    hits the sound is made up.
    """

    notes: NoteSource
    samples: int
    sample_rate: int
    n_fft: int
    hop_length: int
    seed: int = 0
    synthetic_share: float = 0.3
    draw_size: int = 1
    draws_per_epoch: int = 1000

    def __call__(self, draw: int) -> dict[str, Tensor]:
        """Return draw number ``draw``."""
        rng = np.random.default_rng((self.seed, draw))
        onsets = self.onsets(rng)
        sound = self._play(rng, onsets)
        starts = np.arange((self.samples - self.n_fft) // self.hop_length + 1) * self.hop_length
        centres = starts + self.n_fft / 2
        distance = np.abs(centres[:, None] - onsets).min(axis=1) / self.hop_length
        labels = np.clip(1.0 - distance / LABEL_HOPS, 0.0, 1.0)
        return {
            "dry": torch.from_numpy(sound.astype(np.float32))[None, None],
            "hits": torch.from_numpy(labels.astype(np.float32))[None],
        }

    def onsets(self, rng: np.random.Generator) -> np.ndarray:
        """Draw when hits begin, in samples; one at least."""
        low, high = np.log(GAP_SECONDS)
        found = [rng.uniform(0.0, GAP_SECONDS[1])]
        centre = rng.uniform(low, high)  # slow or quick, as music is
        while found[-1] * self.sample_rate < self.samples:
            found.append(found[-1] + np.exp(np.clip(rng.normal(centre, 0.4), low, high)))
        return np.round(np.array(found) * self.sample_rate).astype(int)

    def _play(self, rng: np.random.Generator, onsets: np.ndarray) -> np.ndarray:
        fade = max(1, round(FADE_SECONDS * self.sample_rate))
        longest = round(LONGEST_SECONDS * self.sample_rate)
        fading = np.clip(5.0 * (1.0 - np.arange(longest) / longest), 0.0, 1.0)
        sound = np.zeros(self.samples + fade)
        for onset, following in itertools.pairwise(onsets):
            choked = rng.random() < CHOKED_SHARE
            stop = min(self.samples, int(following) + fade if choked else self.samples)
            for _ in range(2 if rng.random() < DOUBLE_SHARE else 1):
                source = synthetic_note if rng.random() < self.synthetic_share else self.notes
                count = min(longest, max(1, stop - int(onset)))
                note = source(rng, count, self.sample_rate) * fading[:count]
                note = note * 10.0 ** (rng.uniform(*HIT_DB) / 20.0)
                if choked:
                    note[-fade:] *= np.linspace(1.0, 0.0, min(fade, len(note)))
                sound[onset : onset + len(note)] += note[: len(sound) - onset]
        bed = 10.0 ** (rng.uniform(*BED_DB) / 20.0) * rng.standard_normal(len(sound))
        sound = (sound + bed)[: self.samples]
        return sound / max(1.0, np.abs(sound).max())
