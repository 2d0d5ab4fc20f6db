"""Dry sound out of a folder of recordings of any kind, as material for pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data.decoded import DecodedAudio, OpenFiles
from audiform.data.effect_inputs import DrySource
from audiform.errors import DataError

#: What is softer than this, as a mean square, is no sound to learn from.
SILENT_POWER = 1e-6

#: How often another piece is drawn where one is silent.
TRIALS = 10

#: Pieces that follow each other are faded in and out within so many seconds.
FADE_SECONDS = 0.005


@dataclass(frozen=True)
class FolderSounds:
    """Pieces of recordings one after the other, mono, of random polarity and peak.

    Of a recording as much is taken as fits; longer ones are drawn more often, up to
    ``longest_seconds``. ``peak_db`` is the range of the loudest sample.
    """

    recordings: tuple[DecodedAudio, ...]
    longest_seconds: float = 20.0
    peak_db: tuple[float, float] = (-20.0, 0.0)
    files: OpenFiles = field(default_factory=OpenFiles, compare=False)

    def __call__(
        self, rng: np.random.Generator, *, samples: int, sample_rate: int
    ) -> Float[Tensor, "1 time"]:
        """Return ``samples`` samples at the recordings' rate; raises :class:`DataError`."""
        lengths = [audio.num_samples for audio in self.recordings]
        odds = np.minimum(lengths, self.longest_seconds * sample_rate)
        if not len(odds) or odds.sum() == 0:
            raise DataError("there are no recordings to draw from; give a folder that has some")
        odds = odds / odds.sum()
        for _ in range(TRIALS):
            drawn = self._joined(rng, odds, samples, sample_rate)
            if np.mean(drawn**2) > SILENT_POWER:
                break
        peak = max(float(np.abs(drawn).max()), SILENT_POWER)
        level = 10.0 ** (rng.uniform(*self.peak_db) / 20.0) * float(rng.choice([-1.0, 1.0]))
        return torch.from_numpy((drawn * (level / peak)).astype(np.float32))[None]

    def _joined(
        self, rng: np.random.Generator, odds: np.ndarray, samples: int, sample_rate: int
    ) -> np.ndarray:
        joined, filled = np.zeros(samples), 0
        fade = max(1, round(FADE_SECONDS * sample_rate))
        while filled < samples:
            audio = self.recordings[rng.choice(len(odds), p=odds)]
            count = min(audio.num_samples, samples - filled)
            start = int(rng.integers(audio.num_samples - count + 1))
            piece = self.files.read(audio, start_samples=start, num_samples=count).mean(axis=0)
            edge = np.minimum(1.0, (np.arange(count) + 1) / fade)
            joined[filled : filled + count] = piece * edge * edge[::-1]
            filled += count
        return joined


@dataclass(frozen=True)
class EitherSource:
    """Sound of one source or the other: of ``second`` in ``share`` of all cases."""

    first: DrySource
    second: DrySource
    share: float

    def __call__(
        self, rng: np.random.Generator, *, samples: int, sample_rate: int
    ) -> Float[Tensor, "channels time"]:
        """Return ``samples`` samples at ``sample_rate``."""
        source = self.second if rng.random() < self.share else self.first
        return source(rng, samples=samples, sample_rate=sample_rate)
