"""Which constant offset of an effect's output is not its device's own."""

from __future__ import annotations

import numpy as np

from audiform.data.check.mixing import decibels
from audiform.data.check.pair_levels import FRAME_SECONDS
from audiform.data.check.runs import runs_of

#: Length of the frames whose means are compared: several periods of a low tone.
OFFSET_SECONDS = 0.1

#: What is constant is there in the quietest moments, too: in this share of all the RMS is no less
#: than this share of it: a low note may cancel some.
QUIETEST, QUIETEST_SHARE = 0.02, 0.8

#: What a device makes of its input's mean: of the mean now, and of what is left of earlier ones
#: after echoes and tails that fade within so many seconds.
MEAN_TAILS_SECONDS = (0.15, 0.5, 1.5)

#: Offsets are looked for where the input was below this for so long, in so many frames.
OFFSET_PAUSE_DB, OFFSET_PAUSE_SECONDS, OFFSET_FRAMES = -50.0, 0.3, 5

#: An offset that a device makes differs between values of the input: in so many bins of its
#: magnitude, of so many samples on each side, by this share at least.
LOPSIDED_BINS, LOPSIDED_LEAST, LOPSIDED_SPREAD = 6, 100, 0.5

#: An offset that changes by this share within a pause is the device's.
OFFSET_MOVES = 0.1


def constant_offset(audio: np.ndarray, rate: int) -> float:
    """Return the mean that stays when the sound goes: a device's own offset comes with its sound.

    Where the line of means over levels, of the quieter half of all frames, begins; 0 where there
    are moments that are quieter than that.
    """
    offset = _offset_beneath(audio, rate)
    return offset if _quietest_rms(audio, rate) > QUIETEST_SHARE * abs(offset) else 0.0


def _quietest_rms(audio: np.ndarray, rate: int) -> float:
    """Return the RMS of quiet moments, without the silence before and after the recording."""
    sounding = np.flatnonzero(audio)
    frame = max(1, round(FRAME_SECONDS * rate))
    if len(sounding) == 0 or sounding[-1] - sounding[0] < frame:
        return 0.0
    inside = audio[sounding[0] : sounding[-1] + 1]
    frames = inside[: len(inside) // frame * frame].reshape(-1, frame)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    return float(np.sqrt(np.quantile(power, QUIETEST)))


def _offset_beneath(audio: np.ndarray, rate: int) -> float:
    frame = max(1, round(OFFSET_SECONDS * rate))
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame).astype(np.float64)
    if len(frames) < 8:
        return float(audio.mean(dtype=np.float64))
    level, mean = frames.std(axis=1), frames.mean(axis=1)
    quieter = level <= np.median(level)
    level, mean = level[quieter], mean[quieter]
    if np.ptp(level) < 0.2 * level.max():
        return float(np.median(mean))
    start = float(np.polyfit(level, mean, 1)[1])
    # It has to be there in nearly all of these frames, not only where the line ends.
    least = float(np.quantile(mean * np.sign(start), 0.1))
    is_most = abs(start) > 0.6 * abs(float(np.median(mean)))
    return start if is_most and least > 0.5 * abs(start) else 0.0


def target_offset(
    dry: np.ndarray, wet: np.ndarray, levels: np.ndarray, rate: int, residual_share: float
) -> float:
    """Return the constant offset of an aligned target that is not its device's own.

    What is there while nothing goes in. Where the input has no pause, an offset counts that is
    larger than what the device does beyond filtering (``residual_share`` of its energy), as what
    bends a wave so that its mean moves leaves at least as much besides; or one that is the same
    for all values of the input. It has to be there with and without what the input's own mean
    explains.
    """
    targets = wet, _without_mean_of(dry, wet, rate)
    return min((_offset(dry, some, levels, rate, residual_share) for some in targets), key=abs)


def _offset(
    dry: np.ndarray, wet: np.ndarray, levels: np.ndarray, rate: int, residual_share: float
) -> float:
    frame = max(1, round(FRAME_SECONDS * rate))
    means = wet[: levels.shape[1] * frame].reshape(-1, frame).mean(axis=1, dtype=np.float64)
    pauses = _long_pauses(levels)
    if sum(map(len, pauses)) >= OFFSET_FRAMES:
        # What is constant is there in each of them.
        steady = [float(np.median(means[pause])) for pause in pauses if _is_steady(means[pause])]
        return min(steady, key=abs, default=0.0)
    offset = constant_offset(wet, rate)
    rest = float(np.sqrt(residual_share)) * float(wet.std(dtype=np.float64))
    return offset if abs(offset) > rest or _is_added(dry, wet, offset) else 0.0


def _without_mean_of(dry: np.ndarray, wet: np.ndarray, rate: int) -> np.ndarray:
    """Return ``wet`` without what the input's own mean, which comes and goes, explains of its mean.

    What is constant stays: it is fitted beside.
    """
    frame = max(1, round(OFFSET_SECONDS * rate))
    count = min(len(dry), len(wet)) // frame
    sources, means = (
        part[: count * frame].reshape(-1, frame).mean(axis=1, dtype=np.float64)
        for part in (dry, wet)
    )
    if count < 4 * (len(MEAN_TAILS_SECONDS) + 2):
        return wet
    keeps = np.array([0.0, *(np.exp(-OFFSET_SECONDS / tail) for tail in MEAN_TAILS_SECONDS)])
    sums = np.zeros((count, len(keeps)))
    for n, source in enumerate(sources):
        sums[n] = source + keeps * sums[n - 1] if n else source
    table = np.concatenate([sums, np.ones((count, 1))], axis=1)
    explained = sums @ np.linalg.lstsq(table, means, rcond=1e-6)[0][:-1]
    per_sample = np.repeat(explained, frame)
    return wet - np.pad(per_sample, (0, len(wet) - len(per_sample)), mode="edge")


def _is_added(dry: np.ndarray, wet: np.ndarray, offset: float) -> bool:
    """Whether the target is as lopsided under small values of the input as under large ones."""
    length = min(len(dry), len(wet))
    order = np.argsort(np.abs(dry[:length]), kind="stable")
    lopsided = []
    for some in np.array_split(order, LOPSIDED_BINS):
        above, below = wet[some[dry[some] > 0]], wet[some[dry[some] < 0]]
        if min(len(above), len(below)) < LOPSIDED_LEAST:
            return False
        lopsided.append(float(above.mean(dtype=np.float64) + below.mean(dtype=np.float64)) / 2)
    return float(np.ptp(lopsided)) < LOPSIDED_SPREAD * abs(offset)


def _long_pauses(levels: np.ndarray) -> list[np.ndarray]:
    """Return the frames of each pause before which the input has been quiet for long, or ever."""
    quiet = decibels(levels[0], np.percentile(levels[0], 95)) < OFFSET_PAUSE_DB
    history = round(OFFSET_PAUSE_SECONDS / FRAME_SECONDS)
    frames = [
        np.arange(start if start == 0 else start + history, end - 1)
        for start, end in runs_of(quiet)
    ]
    return [pause for pause in frames if len(pause) > 1]


def _is_steady(means: np.ndarray) -> bool:
    """Whether a mean stays: what a device leaves behind dies away."""
    half = len(means) // 2
    first, second = abs(float(means[:half].mean())), abs(float(means[half:].mean()))
    return abs(first - second) <= OFFSET_MOVES * max(first, second)
