"""What the levels of an effect's input and output say of each other, over time.

Drop-outs are told from pauses, gates and tremolos by what else the device does at that level of
its input; noise from tails by its steadiness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.check.mixing import decibels

#: Length of the frames in which levels are compared.
FRAME_SECONDS = 0.02

#: Length of the frames whose means are compared: several periods of a low tone.
OFFSET_SECONDS = 0.1

#: Input within this of its loudest frames is loud; in a hole the output is this far below what
#: it usually is at that level, and was not just before.
LOUD_DB, HOLE_DB, EDGE_DB = -30.0, -50.0, -20.0

#: Share of the frames of such an input at which the output has to sound.
USUALLY = 0.8

#: Shortest and longest run of zeros that is looked at, in seconds.
ZEROS_SECONDS = (0.0015, 0.5)

#: Runs of zeros that are looked at.
MAX_RUNS = 300

#: So many holes at equal distances are a device that chops.
CHOPS = 6

#: An input that ends at once while its output goes on at this level for so many frames fails.
GOES_ON_DB, GOES_ON_FRAMES = -12.0, 12

#: Input below this (against its loudest frame) is a pause; shortest pause in which noise is told.
PAUSE_DB, PAUSE_SECONDS = -70.0, 0.3

#: Noise is steady: from the first to the last third of a pause it changes by less, in dB.
STEADY_DB = 2.0

#: Frequencies of mains in Hz, harmonics looked at, how many of them have to stand out.
MAINS_HZ, MAINS_HARMONICS, MAINS_COUNT = (50.0, 60.0), 8, 3

#: A line stands out by this factor (power) from what is around, and that from the input's.
MAINS_HEIGHT, MAINS_OVER_INPUT = 5.0, 4.0

#: Lines of more power than this share of loud moments are what is played.
HUM_SHARE = 0.01


@dataclass(frozen=True)
class Noise:
    """What the output has of its own: level in dB against its loud frames, mains or None."""

    level_db: float
    mains_hz: float | None


def frame_levels(dry: np.ndarray, wet: np.ndarray, rate: int) -> np.ndarray:
    """Return mean squares (2, frames) of aligned input and output."""
    frame = max(1, round(FRAME_SECONDS * rate))
    frames = min(len(dry), len(wet)) // frame
    both = np.stack([dry[: frames * frame], wet[: frames * frame]]).reshape(2, frames, frame)
    return np.square(both, dtype=np.float64).mean(axis=2)


def level_correlation(levels: np.ndarray) -> float | None:
    """Return the correlation of levels in dB; None where the input's hardly moves."""
    dry, wet = levels
    if dry.size < 8 or not dry.any() or not wet.any():
        return None
    in_db = np.maximum(decibels(dry, dry.max()), -60.0)
    out_db = np.maximum(decibels(wet, wet.max()), -60.0)
    if in_db.std() < 3.0:
        return None
    return float(np.corrcoef(in_db, out_db)[0, 1]) if out_db.std() > 0 else 0.0


def constant_offset(audio: np.ndarray, rate: int) -> float:
    """Return the mean that stays when the sound goes: a device's own offset comes with its sound.

    Where the line of means over levels, of the quieter half of all frames, begins.
    """
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


# Drop-outs ------------------------------------------------------------------------------------


def find_holes(
    dry: np.ndarray, wet: np.ndarray, levels: np.ndarray, rate: int
) -> tuple[list[float], list[float]]:
    """Return when the input, and when the output, fails, in seconds of the aligned pair."""
    if not levels.size or not levels[0].any() or not levels[1].any():
        return [], []
    long_wet = _silent_frames(levels, _frame_peaks(dry, rate))
    short_wet = _zeros(wet, lambda start, end: _device_would_sound(dry, wet, start, end), rate)
    long_dry = _silent_inputs(levels)
    short_dry = _zeros(dry, lambda start, end: _goes_on(wet, start, end), rate)
    return (
        _merged([*long_dry, *short_dry]),
        [] if _is_regular(_merged([*long_wet, *short_wet])) else _merged([*long_wet, *short_wet]),
    )


def _frame_peaks(audio: np.ndarray, rate: int) -> np.ndarray:
    frame = max(1, round(FRAME_SECONDS * rate))
    return np.asarray(np.abs(audio[: len(audio) // frame * frame]).reshape(-1, frame).max(axis=1))


def _silent_frames(levels: np.ndarray, peaks: np.ndarray) -> list[float]:
    """Return where the output vanishes, at once, under an input at which it usually sounds."""
    dry, wet = decibels(levels[0], levels[0].max()), decibels(levels[1], levels[1].max())
    loud = dry > LOUD_DB
    if loud.sum() < 8:
        return []
    usual = float(np.median((wet - dry)[loud]))
    gone = loud & (wet - dry < usual + HOLE_DB)
    sounds = wet - dry > usual + EDGE_DB
    runs = _runs(gone)
    if _is_regular([start * FRAME_SECONDS for start, _ in runs]):
        return []
    holes = []
    for start, end in runs:
        before = sounds[max(0, start - 2) : start].any()
        after = sounds[end : end + 2].any() or end >= len(gone) - 1 or not loud[end : end + 2].all()
        # What a gate shuts out does not sound elsewhere either.
        height = float(peaks[start:end].max())
        alike = (peaks[: len(dry)] > 0.6 * height) & (peaks[: len(dry)] <= height)
        alike[start:end] = False
        is_usual = alike.sum() < 5 or sounds[alike].mean() > USUALLY
        if before and after and is_usual and start > 0:
            holes.append(start * FRAME_SECONDS)
    return holes


def _silent_inputs(levels: np.ndarray) -> list[float]:
    """Return where the input ends at once and its output goes on as before."""
    dry, wet = decibels(levels[0], levels[0].max()), decibels(levels[1], levels[1].max())
    holes = []
    for start, end in _runs(dry < -100.0):
        if end - start < GOES_ON_FRAMES or start < 4 or end >= len(dry) - 1:
            continue
        before = float(np.median(wet[start - 4 : start]))
        is_cut = dry[max(0, start - 2) : start].max() > LOUD_DB
        if is_cut and wet[start:end].min() > max(before + GOES_ON_DB, LOUD_DB):
            holes.append(start * FRAME_SECONDS)
    return holes


def _zeros(audio: np.ndarray, is_hole: object, rate: int) -> list[float]:
    """Return runs of zeros in the middle of the sound that ``is_hole(start, end)``, in seconds."""
    assert callable(is_hole)
    shortest, longest = (round(seconds * rate) for seconds in ZEROS_SECONDS)
    top = 0.1 * float(np.quantile(np.abs(audio), 0.999)) if audio.any() else np.inf
    runs = [
        (start, end)
        for start, end in _runs(audio == 0.0)
        if shortest <= end - start <= longest and start > 8 and end < len(audio) - 8
    ]
    if _is_regular([start / rate for start, _ in runs]):
        return []
    return [
        start / rate
        for start, end in runs[:MAX_RUNS]
        if min(np.abs(audio[start - 8 : start]).max(), np.abs(audio[end : end + 8]).max()) > top
        and is_hole(start, end)
    ]


def _device_would_sound(dry: np.ndarray, wet: np.ndarray, start: int, end: int) -> bool:
    """Whether the input has values under the zeros at which the output elsewhere is not zero."""
    inside = np.abs(dry[start:end])
    height = float(inside.max())
    if height <= 0.0:
        return False
    nearby = slice(max(0, start - 50 * (end - start)), end + 50 * (end - start))
    alike = (np.abs(dry[nearby]) > 0.8 * height) & (np.abs(dry[nearby]) <= height)
    alike[start - (nearby.start or 0) : end - (nearby.start or 0)] = False
    around = float(np.abs(dry[max(0, start - (end - start)) : end + (end - start)]).max())
    if alike.sum() < 8 or height < 0.25 * around:
        return False
    return float((wet[nearby][alike] == 0.0).mean()) < 1.0 - USUALLY


def _goes_on(wet: np.ndarray, start: int, end: int) -> bool:
    """Whether the output is as loud in the second half of the zeros as before them."""
    length = end - start
    before = np.square(wet[max(0, start - length) : start], dtype=np.float64).mean()
    second = np.square(wet[(start + end) // 2 : end], dtype=np.float64).mean()
    return bool(second > 0.25 * before > 0.0)


def _merged(holes: list[float]) -> list[float]:
    """Return the moments in order, of those within a tenth of a second the first."""
    merged: list[float] = []
    for at in sorted(holes):
        if not merged or at - merged[-1] > 0.1:
            merged.append(at)
    return merged


def _is_regular(holes: list[float]) -> bool:
    """Whether most moments follow each other at one distance."""
    if len(holes) < CHOPS:
        return False
    gaps = np.diff(holes)
    usual = float(np.median(gaps))
    return float(np.mean(np.abs(gaps - usual) < 0.15 * usual)) > 0.6


# Noise ----------------------------------------------------------------------------------------


def stationary_noise(
    dry: np.ndarray, wet: np.ndarray, levels: np.ndarray, rate: int
) -> Noise | None:
    """Return the output's own noise: in the longest pause of the input, or as lines of mains."""
    if not levels.size or not levels[0].any() or not levels[1].any():
        return None
    loud = float(np.percentile(levels[1], 95))
    mains = _mains(dry, wet, rate)
    in_pause = _pause_level(levels)
    if mains is not None and mains[1] < HUM_SHARE * loud:
        return Noise(float(decibels(mains[1], loud)), mains[0])
    return None if in_pause is None else Noise(float(decibels(in_pause, loud)), None)


def _pause_level(levels: np.ndarray) -> float | None:
    """Return the output's steady power where the input pauses; None if there is no such place."""
    pauses = _runs(decibels(levels[0], levels[0].max()) < PAUSE_DB)
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
    return float(power.mean())


def _mains(dry: np.ndarray, wet: np.ndarray, rate: int) -> tuple[float, float] | None:
    """Return the frequency of mains and the power of its lines, which the input has not."""
    size = 1 << round(np.log2(0.7 * rate))
    if len(wet) < 4 * size:
        return None
    lasting = [_lasting_spectrum(signal, size) for signal in (dry, wet)]
    width, spacing = rate / size, 4
    for mains in MAINS_HZ:
        lines, power = 0, 0.0
        for harmonic in range(1, MAINS_HARMONICS + 1):
            center = round(harmonic * mains / width)
            near = slice(center - 1, center + 2)
            around = np.r_[center - 3 * spacing : center - 3, center + 4 : center + 3 * spacing + 1]
            around = around[around > 0]
            heights = [
                float(spectrum[near].max() / max(np.median(spectrum[around]), 1e-30))
                for spectrum in lasting
            ]
            if heights[1] > MAINS_HEIGHT and heights[1] > MAINS_OVER_INPUT * heights[0]:
                lines += 1
                power += 2 * float(lasting[1][near].sum())
        if lines >= MAINS_COUNT:
            return mains, power
    return None


def _lasting_spectrum(signal: np.ndarray, size: int) -> np.ndarray:
    """Return what each bin's power hardly ever falls below, as a share of mean square."""
    window = np.hanning(size)
    starts = range(0, len(signal) - size + 1, size // 2)
    step = max(1, len(starts) // 60)
    power = [
        np.square(np.abs(np.fft.rfft(signal[start : start + size] * window)))
        for start in list(starts)[::step]
    ]
    return np.asarray(np.quantile(power, 0.15, axis=0) / (size * np.square(window).sum()))


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
