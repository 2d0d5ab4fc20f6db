"""What the levels of an effect's input and output say of each other, over time.

Drop-outs are told from pauses, gates and tremolos by what else the device does at that level of
its input; noise from tails by its steadiness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from audiform.data.check.mixing import decibels
from audiform.data.check.pair_hum import MAINS_HZ, find_hum

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

#: Around a hole of the input, within so many seconds, this share of the samples is not zero
#: (clicks are); and where the input comes back the output is no louder by this factor (power), as
#: it is after the tail of a room.
AROUND_SECONDS, AROUND_SHARE, COMES_BACK = 0.02, 0.5, 4.0

#: A device that sounds elsewhere is in a hole this far below what its bands make of the input.
EXPECTED_HOLE_DB, EXPECTED_BANDS = -30.0, 12

#: Sound that is cut is not below this share of what it was within a moment, at the last samples:
#: more than a zero crossing.
CUT_SHARE, CUT_SAMPLES = 0.1, 32

#: Runs of zeros end and begin above this share of the loudest: of an input, of an output, whose
#: device is asked besides.
DRY_EDGE, WET_EDGE = 0.1, 0.05

#: A gate that was shut opens where the input rises by so much, in dB, within so many frames.
OPENS_DB, OPENS_FRAMES = 6.0, 3

#: A target that stays at its highest value for so long is stuck, in seconds; a part of a period
#: is settled where its RMS is no further than this from the last part's.
STUCK_SECONDS, SETTLED_RATIO, PARTS = 0.03, 1.1, 16

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
        np.arange(start if start == 0 else start + history, end - 1) for start, end in _runs(quiet)
    ]
    return [pause for pause in frames if len(pause) > 1]


def _is_steady(means: np.ndarray) -> bool:
    """Whether a mean stays: what a device leaves behind dies away."""
    half = len(means) // 2
    first, second = abs(float(means[:half].mean())), abs(float(means[half:].mean()))
    return abs(first - second) <= OFFSET_MOVES * max(first, second)


# Where it is stuck ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Stuck:
    """Where a target sits at its highest value: moments in seconds, and the longest stay.

    Of stays at equal distances ``period_samples`` is that distance, and ``settled_samples`` how
    long after each one's beginning the target sounds as it does at the end of the period.
    """

    starts_seconds: tuple[float, ...]
    longest_seconds: float
    period_samples: int | None = None
    settled_samples: int | None = None


def find_stuck(wet: np.ndarray, rate: int) -> Stuck | None:
    """Return where ``wet`` stays at its highest value for long; None where it does not."""
    magnitude = np.abs(wet)
    shortest = round(STUCK_SECONDS * rate)
    runs = [
        run
        for run in _runs(magnitude >= 0.9999 * magnitude.max(initial=0.0))
        if run[1] - run[0] >= shortest
    ]
    if not runs or not magnitude.any():
        return None
    starts = np.array([start for start, _ in runs])
    longest = max(end - start for start, end in runs) / rate
    seconds = tuple((starts / rate).tolist())
    if not _is_regular(list(seconds)):
        return Stuck(seconds, longest)
    period = round(float(np.median(np.diff(starts))))
    periods = wet[starts[0] : starts[0] + (len(wet) - starts[0]) // period * period]
    profile = periods.reshape(-1, period)[:, : period // PARTS * PARTS]
    parts = np.square(profile, dtype=np.float64).reshape(len(profile), PARTS, -1).mean(axis=(0, 2))
    loud = np.flatnonzero(np.sqrt(parts) > SETTLED_RATIO * np.sqrt(parts[-1]))
    settled = (int(loud[-1]) + 1) * period // PARTS if len(loud) else 0
    return Stuck(seconds, longest, period, settled)


# Drop-outs ------------------------------------------------------------------------------------


def find_holes(
    dry: np.ndarray, wet: np.ndarray, levels: np.ndarray, rate: int
) -> tuple[list[float], list[float]]:
    """Return when the input, and when the output, fails, in seconds of the aligned pair."""
    if not levels.size or not levels[0].any() or not levels[1].any():
        return [], []
    expected = _expected_levels(dry, wet, rate)
    long_wet = _silent_frames(levels, _frame_peaks(dry, rate), expected)
    short_wet = _zeros(
        wet, lambda start, end: _device_would_sound(dry, wet, start, end, rate), WET_EDGE, rate
    )
    long_dry = _silent_inputs(dry, wet, levels, rate)
    short_dry = _zeros(dry, lambda start, end: _goes_on(wet, start, end), DRY_EDGE, rate)
    return (
        _merged([*long_dry, *short_dry]),
        [] if _is_regular(_merged([*long_wet, *short_wet])) else _merged([*long_wet, *short_wet]),
    )


def _frame_peaks(audio: np.ndarray, rate: int) -> np.ndarray:
    frame = max(1, round(FRAME_SECONDS * rate))
    return np.asarray(np.abs(audio[: len(audio) // frame * frame]).reshape(-1, frame).max(axis=1))


def _expected_levels(dry: np.ndarray, wet: np.ndarray, rate: int) -> np.ndarray:
    """Return the power of each frame that the input's bands, through the device, would give.

    A device that dulls is silent under treble, however loud.
    """
    frame = max(1, round(FRAME_SECONDS * rate))
    count = min(len(dry), len(wet)) // frame
    edges = np.unique(np.geomspace(1, frame // 2, EXPECTED_BANDS + 1).astype(int))[:-1]
    window = np.hanning(frame)
    dry_bands, wet_bands = (
        np.add.reduceat(
            np.square(np.abs(np.fft.rfft(part[: count * frame].reshape(-1, frame) * window))),
            edges,
            axis=1,
        )
        for part in (dry, wet)
    )
    gains = wet_bands.sum(axis=0) / np.maximum(dry_bands.sum(axis=0), 1e-12)
    power = np.asarray(dry_bands @ gains)
    return power / (0.375 * frame * frame) * 2


def _silent_frames(levels: np.ndarray, peaks: np.ndarray, expected: np.ndarray) -> list[float]:
    """Return where the output vanishes, at once, under an input at which it usually sounds."""
    dry, wet = decibels(levels[0], levels[0].max()), decibels(levels[1], levels[1].max())
    loud = dry > LOUD_DB
    if loud.sum() < 8:
        return []
    usual = float(np.median((wet - dry)[loud]))
    gone = loud & (wet - dry < usual + HOLE_DB)
    gone &= decibels(levels[1] + 1e-20, expected + 1e-20) < EXPECTED_HOLE_DB
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
        is_hole = before and after and is_usual and start > 0
        if is_hole and not _opens_with_the_input(dry, sounds, start, end):
            holes.append(start * FRAME_SECONDS)
    return holes


def _opens_with_the_input(dry: np.ndarray, sounds: np.ndarray, start: int, end: int) -> bool:
    """Whether the output stays away until the input (dB) rises, and is below what was: a gate."""
    again = end + int(np.argmax(sounds[end:])) if sounds[end:].any() else len(sounds)
    is_below = dry[start:again].max() <= dry[max(0, start - OPENS_FRAMES) : start].max()
    shut = dry[max(start, again - OPENS_FRAMES) : again]
    rises = again < len(dry) and dry[again : again + 2].max() > shut.min() + OPENS_DB
    return bool(is_below and rises)


def _silent_inputs(dry: np.ndarray, wet: np.ndarray, levels: np.ndarray, rate: int) -> list[float]:
    """Return where the input ends at once and its output goes on as before."""
    frame = max(1, round(FRAME_SECONDS * rate))
    moving = wet[: levels.shape[1] * frame].reshape(-1, frame)
    sound = np.var(moving, axis=1, dtype=np.float64)
    dry_db, wet_db = decibels(levels[0], levels[0].max()), decibels(sound, sound.max())
    holes = []
    for start, end in _runs(dry_db < -100.0):
        if end - start < GOES_ON_FRAMES or start < 4 or end >= len(dry_db) - 1:
            continue
        before = float(np.median(wet_db[start - 4 : start]))
        is_loud = dry_db[max(0, start - 2) : start].max() > LOUD_DB
        goes_on = wet_db[start:end].min() > max(before + GOES_ON_DB, LOUD_DB)
        after = float(sound[end + 1 : end + 4].mean()) if end + 1 < len(sound) else 0.0
        comes_back = after > COMES_BACK * float(sound[end - 3 : end - 1].mean())
        is_cut = _is_cut(dry, (start + 1) * frame, (end - 1) * frame, rate)
        if is_loud and goes_on and is_cut and not comes_back:
            holes.append(start * FRAME_SECONDS)
    return holes


def _is_cut(audio: np.ndarray, start: int, end: int, rate: int) -> bool:
    """Whether sound ends and begins in the middle of a wave around silence at start .. end."""
    sounding = np.flatnonzero(audio[:start])
    again = np.flatnonzero(audio[end:])
    if not len(sounding) or not len(again):
        return False
    last, first, moment = int(sounding[-1]) + 1, end + int(again[0]), round(FRAME_SECONDS * rate)
    before, after = np.abs(audio[max(0, last - moment) : last]), np.abs(audio[first:][:moment])
    return _sounds_around(audio, last, first, rate) and bool(
        before[-CUT_SAMPLES:].max() > CUT_SHARE * before.max()
        and after[:CUT_SAMPLES].max() > CUT_SHARE * after.max()
    )


def _sounds_around(audio: np.ndarray, start: int, end: int, rate: int) -> bool:
    """Whether there is sound and not a click on both sides of start .. end."""
    moment = round(AROUND_SECONDS * rate)
    sides = audio[max(0, start - moment) : start], audio[end : end + moment]
    return all(len(side) > 0 and float((side != 0.0).mean()) > AROUND_SHARE for side in sides)


def _zeros(
    audio: np.ndarray, is_hole: Callable[[int, int], bool], edge: float, rate: int
) -> list[float]:
    """Return runs of zeros in the middle of the sound that ``is_hole(start, end)``, in seconds.

    On both sides there is sound of more than ``edge`` of the loudest.
    """
    shortest, longest = (round(seconds * rate) for seconds in ZEROS_SECONDS)
    top = edge * float(np.quantile(np.abs(audio), 0.999)) if audio.any() else np.inf
    runs = [
        (start, end)
        for start, end in _runs(audio == 0.0)
        if shortest <= end - start <= longest
        and start > CUT_SAMPLES
        and end < len(audio) - CUT_SAMPLES
    ]
    if _is_regular([start / rate for start, _ in runs]):
        return []
    return [
        start / rate
        for start, end in runs[:MAX_RUNS]
        if np.abs(audio[start - CUT_SAMPLES : start]).max() > top
        and np.abs(audio[end : end + CUT_SAMPLES]).max() > top
        and _sounds_around(audio, start, end, rate)
        and is_hole(start, end)
    ]


def _device_would_sound(dry: np.ndarray, wet: np.ndarray, start: int, end: int, rate: int) -> bool:
    """Whether the input has values under the zeros at which the output elsewhere is not zero.

    A gate's output comes back where the input rises from below what it was.
    """
    moment, rise = round(FRAME_SECONDS * rate), 10.0 ** (OPENS_DB / 20.0)
    inside = np.abs(dry[start:end])
    earlier, later, after = (
        float(np.abs(dry[max(0, first) : first + moment]).max())
        for first in (start - moment, end - moment, end)
    )
    if float(inside.max()) <= earlier and after > rise * later:
        return False
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
    """Whether the output goes on as loud as before the zeros, and is no louder after them."""
    length, quarter = end - start, max(1, (end - start) // 4)
    spans = (start - length, start), ((start + end) // 2, end), (end - quarter, end)
    before, second, last, after = (
        float(np.square(wet[max(0, first) : stop], dtype=np.float64).mean())
        for first, stop in (*spans, (end, end + quarter))
    )
    return second > 0.25 * before > 0.0 and after < COMES_BACK * last


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
    return slice(start + 1, end - 1)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
