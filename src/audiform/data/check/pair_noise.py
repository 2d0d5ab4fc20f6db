"""What an effect's output has of its own: hum, and noise, told from tails by its steadiness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.check.mixing import decibels
from audiform.data.check.pair_hum import MAINS_HZ, find_hum
from audiform.data.check.pair_levels import FRAME_SECONDS
from audiform.data.check.runs import runs_of

#: Input below this (against its loudest frame) is a pause; shortest pause in which noise is told.
PAUSE_DB, PAUSE_SECONDS = -70.0, 0.3

#: Noise is steady: from the first to the last third of a pause it changes by less, in dB.
STEADY_DB = 2.0

#: Lines of more power than this share of loud moments are what is played.
HUM_SHARE = 0.01

#: What sounds in a pause is hum where it repeats with mains to this correlation.
REPEATS_IN_PAUSE = 0.7


@dataclass(frozen=True)
class Noise:
    """What the output has of its own: level in dB against its loud frames, mains or None."""

    level_db: float
    mains_hz: float | None


def stationary_noise(
    dry: np.ndarray, wet: np.ndarray, levels: np.ndarray, rate: int
) -> Noise | None:
    """Return the output's own noise: in the longest pause of the input, or as lines of mains."""
    if not levels.size or not levels[0].any() or not levels[1].any():
        return None
    loud = float(np.percentile(levels[1], 95))
    found = [
        noise for noise in (_hum(dry, wet, loud, rate), _hiss(wet, levels, loud, rate)) if noise
    ]
    return max(found, key=lambda noise: (noise.mains_hz is not None, noise.level_db), default=None)


def _hum(dry: np.ndarray, wet: np.ndarray, loud: float, rate: int) -> Noise | None:
    """Return tones of mains, wherever they are heard, unless they are what is played."""
    tones = find_hum(dry, wet, rate)
    if tones is None or tones[1] >= HUM_SHARE * loud:
        return None
    return Noise(float(decibels(tones[1], loud)), tones[0])


def _hiss(wet: np.ndarray, levels: np.ndarray, loud: float, rate: int) -> Noise | None:
    """Return what is heard in the longest pause of the input."""
    pause = _noisy_pause(levels)
    if pause is None:
        return None
    frame = max(1, round(FRAME_SECONDS * rate))
    heard = wet[pause.start * frame : pause.stop * frame].astype(np.float64)
    return Noise(float(decibels(heard.var(), loud)), _repeats_with_mains(heard, rate))


def _repeats_with_mains(noise: np.ndarray, rate: int) -> float | None:
    """Return the frequency of mains with whose period ``noise`` repeats, None if it does not."""
    noise = noise - noise.mean()
    likeness = {}
    for mains in MAINS_HZ:
        period = round(rate / mains)
        if len(noise) >= 3 * period:
            one, other = noise[period:], noise[:-period]
            likeness[mains] = float((one * other).sum() / max(1e-30, np.square(noise).sum()))
    best = max(likeness, key=lambda mains: likeness[mains], default=None)
    return best if best is not None and likeness[best] > REPEATS_IN_PAUSE else None


def _noisy_pause(levels: np.ndarray) -> slice | None:
    """Return the longest pause of the input, if the output is steady there and not silent."""
    pauses = runs_of(decibels(levels[0], levels[0].max()) < PAUSE_DB)
    start, end = max(pauses, key=lambda run: run[1] - run[0], default=(0, 0))
    if (end - start) * FRAME_SECONDS < PAUSE_SECONDS:
        return None
    power = levels[1][start + 1 : end - 1]
    # An input that only whispers may be amplified: what follows its level is no noise.
    whisper = levels[0][start + 1 : end - 1]
    if whisper.max() > 1e-10:
        return None
    thirds = np.array_split(power, 3)
    first, last = float(thirds[0].mean()), float(thirds[2].mean())
    if last <= 0.0 or abs(float(decibels(first, last))) > STEADY_DB:
        return None
    return slice(start + 1, end - 1)
