"""Beats of a drum stem: tempo, times, and the even grid that fits an excerpt.

D. Ellis, "Beat Tracking by Dynamic Programming" (2007): a tempo for the whole, then the path
of beats with the strongest onsets at nearly that distance. Differs from it in the onsets (bands
of an octave, the kick drum's weighted up, so that beats are not taken for off-beats), in a test
for doubled tempo, and in moving each beat to its onset's peak, to a fraction of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.onset_strength import onset_strength

#: Size and step of the analysis, seconds.
WINDOW_SECONDS = 0.023
HOP_SECONDS = 0.0058

#: Level below the loudest at which a stroke hardly counts: hi-hats do not set the beat.
FLOOR_DB = -35.0

#: Weight of the bar, three or four beats long, when the tempo is looked for.
BAR_WEIGHT = 1.5

#: Blocks in which a track is analysed, so that memory does not grow with it.
BLOCK_SECONDS = 30.0

#: Weight of the lowest bands, in which the kick drum is; the others have one.
LOW_BANDS = 2
LOW_WEIGHT = 3.0

#: Tempi that are looked for, and the one that is most likely, with its deviation in octaves.
TEMPO_RANGE_BPM = (55.0, 200.0)
LIKELY_BPM = 100.0
LIKELY_OCTAVES = 1.0

#: Weight of an even distance between beats against the strength of onsets.
TIGHTNESS = 300.0

#: Where every other beat is weaker than this share of its neighbours, it is none.
WEAK_BEAT = 0.55

#: Half the distance in which a beat's onset is looked for.
SNAP_SECONDS = 0.035


@dataclass(frozen=True)
class Beats:
    """Times of the beats of a track, and how clearly each was heard (1: as the average)."""

    times_seconds: tuple[float, ...]
    strengths: tuple[float, ...]

    @property
    def tempo_bpm(self) -> float:
        """Median tempo, 0 where there are fewer than two beats."""
        if len(self.times_seconds) < 2:
            return 0.0
        return 60.0 / float(np.median(np.diff(self.times_seconds)))


@dataclass(frozen=True)
class BeatGrid:
    """Even beats: ``first_seconds + k * period_seconds``.

    ``error_seconds`` is how far the heard beats are from it: nine in ten are nearer.
    """

    first_seconds: float
    period_seconds: float
    error_seconds: float


def track_beats(drums: Float[Tensor, "channels time"], *, sample_rate: int) -> Beats:
    """Return the beats of ``drums``; none where nothing is struck regularly."""
    strength = _strength(drums, sample_rate)
    if len(strength) < 4.0 / HOP_SECONDS or strength.max() <= 0.0:
        return Beats((), ())
    hop = round(HOP_SECONDS * sample_rate) / sample_rate
    strength = strength / strength[strength > 0].mean()
    period = _period(strength, hop)
    beats = _best_path(strength, period)
    beats = _without_weak_beats(strength, beats)
    if len(beats) < 4:
        return Beats((), ())
    places, heard = _snap(strength, beats, round(SNAP_SECONDS / hop))
    average = float(heard.mean()) or 1.0
    return Beats(
        tuple(np.round(places * hop, 5).tolist()), tuple(np.round(heard / average, 3).tolist())
    )


def fit_grid(beats: Beats, *, start_seconds: float, duration_seconds: float) -> BeatGrid | None:
    """Return the even grid of an excerpt; None with fewer than eight beats that were heard.

    Least squares over beats weighted by how clearly they were heard; beats that are far off
    (fills, syncopation) are left out in a second round.
    """
    times = np.asarray(beats.times_seconds)
    weights = np.sqrt(np.asarray(beats.strengths))
    inside = (times >= start_seconds) & (times <= start_seconds + duration_seconds)
    times, weights = times[inside], weights[inside]
    if (weights > 0).sum() < 8:
        return None
    period = float(np.median(np.diff(times)))
    steps = np.maximum(1, np.round(np.diff(times) / period))
    numbers = np.concatenate([[0.0], np.cumsum(steps)])
    kept = weights > 0
    for _ in range(4):
        period, first = np.polyfit(numbers[kept], times[kept], 1, w=weights[kept])
        error = np.abs(times - first - period * numbers)
        limit = max(0.006, 2.5 * float(np.median(error[weights > 0])))
        kept = (weights > 0) & (error <= limit)
    spread = float(np.quantile(error[weights > 0], 0.9))
    return BeatGrid(float(first), float(period), spread)


def _strength(drums: Float[Tensor, "channels time"], sample_rate: int) -> np.ndarray:
    """Return the weighted onset strength of the whole, block by block."""
    hop = round(HOP_SECONDS * sample_rate)
    n_fft = 4 * hop
    block = round(BLOCK_SECONDS * sample_rate / hop) * hop
    context = 2 * n_fft // hop * hop
    parts: list[np.ndarray] = []
    peak = drums.abs().max().clamp(min=1e-9)
    for first in range(0, drums.shape[-1], block):
        before = min(first, context)
        piece = drums[:, first - before : first + block + n_fft] / peak
        rise = onset_strength(
            piece, sample_rate=sample_rate, n_fft=n_fft, hop_length=hop, floor_db=FLOOR_DB
        )
        weights = torch.ones(rise.shape[-1])
        weights[:LOW_BANDS] = LOW_WEIGHT
        frames = min(block, drums.shape[-1] - first) // hop
        parts.append((rise @ weights)[before // hop : before // hop + frames].numpy())
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def _period(strength: np.ndarray, hop: float) -> float:
    """Return the likeliest beat period in frames: autocorrelation at it and its multiples."""
    centred = strength - strength.mean()
    size = 2 ** math.ceil(math.log2(2 * len(centred)))
    spectrum = np.fft.rfft(centred, size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(centred)]
    correlation /= max(correlation[0], 1e-12)
    low, high = (60.0 / bpm / hop for bpm in reversed(TEMPO_RANGE_BPM))
    periods = np.arange(low, high, 0.1)
    at = {
        multiple: np.interp(multiple * periods, np.arange(len(correlation)), correlation, right=0.0)
        for multiple in (1, 2, 3, 4, 6, 8)
    }
    total = at[1] + at[2] + BAR_WEIGHT * np.maximum(at[3] + at[6], at[4] + at[8])
    octaves = np.log2(60.0 / (periods * hop) / LIKELY_BPM) / LIKELY_OCTAVES
    return float(periods[np.argmax(total.clip(min=0.0) * np.exp(-0.5 * octaves**2))])


def _best_path(strength: np.ndarray, period: float) -> np.ndarray:
    """Return the frames of the best sequence of beats, by dynamic programming."""
    width = max(1.0, period / 32)
    kernel = np.exp(-0.5 * (np.arange(-int(3 * width), int(3 * width) + 1) / width) ** 2)
    local = np.convolve(strength, kernel, "same")
    local /= local.std() + 1e-12
    lags = np.arange(round(period / 2), round(2 * period) + 1)
    cost = -TIGHTNESS * np.log(lags / period) ** 2
    score = local.copy()
    previous = np.full(len(local), -1)
    for frame in range(lags[0], len(local)):
        usable = lags[: max(0, min(len(lags), frame - lags[0] + 1))]
        values = score[frame - usable] + cost[: len(usable)]
        best = int(values.argmax())
        if values[best] > 0:
            score[frame] += values[best]
            previous[frame] = frame - usable[best]
    tail = max(0, len(score) - round(1.5 * period))
    frame = tail + int(score[tail:].argmax())
    path = []
    while frame >= 0:
        path.append(frame)
        frame = int(previous[frame])
    return np.array(path[::-1])


def _without_weak_beats(strength: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Drop every other beat where those are hardly struck: the tempo was doubled."""
    if len(beats) < 8:
        return beats
    _, heard = _snap(strength, beats, 4)
    even, odd = heard[::2].mean(), heard[1::2].mean()
    if odd < WEAK_BEAT * even:
        return beats[::2]
    if even < WEAK_BEAT * odd:
        return beats[1::2]
    return beats


def _snap(
    strength: np.ndarray, beats: Sequence[int] | np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the peak of the onset near each beat, in fractions of a frame, and its height.

    A beat without an onset stays where it is, with height 0.
    """
    places, heights = [], []
    for beat in np.asarray(beats):
        first = max(1, beat - reach)
        part = strength[first : min(len(strength) - 1, beat + reach + 1)]
        if len(part) == 0 or part.max() < 0.5:
            places.append(float(beat))
            heights.append(0.0)
            continue
        peak = first + int(part.argmax())
        left, middle, right = strength[peak - 1 : peak + 2]
        curve = left - 2 * middle + right
        bend = 0.5 * (left - right) / curve if curve < 0 else 0.0
        places.append(peak + float(np.clip(bend, -0.5, 0.5)))
        heights.append(float(middle))
    return np.array(places), np.array(heights)
