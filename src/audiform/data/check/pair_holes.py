"""Drop-outs of an effect's input and output.

They are told from pauses, gates and tremolos by what else the device does at that level of its
input.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audiform.data.check.mixing import decibels
from audiform.data.check.pair_levels import FRAME_SECONDS
from audiform.data.check.runs import is_regular, out_of_step, runs_of

#: Input within this of its loudest frames is loud; in a hole the output is this far below what
#: it usually is at that level, and was not just before.
LOUD_DB, HOLE_DB, EDGE_DB = -30.0, -50.0, -20.0

#: Share of the frames of such an input at which the output has to sound.
USUALLY = 0.8

#: And so many of all values in a hole have to be such as sound elsewhere, told in so many bins of
#: their magnitude, down to this share of the largest. A device that holds samples, or rounds, may
#: miss a peak between two of them.
MOSTLY, VALUE_BINS, VALUES_FROM = 0.5, 13, 1e-3

#: Shortest and longest run of zeros that is looked at, in seconds.
ZEROS_SECONDS = (0.0015, 0.5)

#: Runs of zeros that are looked at.
MAX_RUNS = 300

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
        [] if is_regular(_merged([*long_wet, *short_wet])) else _merged([*long_wet, *short_wet]),
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
    is_there = dry > LOUD_DB + EDGE_DB  # a click after silence may fall between held samples
    holes = []
    for start, end in out_of_step(runs_of(gone)):
        before = (sounds & is_there)[max(0, start - 2) : start].any()
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
    for start, end in runs_of(dry_db < -100.0):
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
        for start, end in runs_of(audio == 0.0)
        if shortest <= end - start <= longest
        and start > CUT_SAMPLES
        and end < len(audio) - CUT_SAMPLES
    ]
    return [
        start / rate
        for start, end in out_of_step(runs)[:MAX_RUNS]
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
    if float((wet[nearby][alike] == 0.0).mean()) >= 1.0 - USUALLY:
        return False
    others = np.ones(len(alike), bool)
    others[start - (nearby.start or 0) : end - (nearby.start or 0)] = False
    near, sounds = np.abs(dry[nearby])[others], wet[nearby][others] != 0.0
    return _share_that_sounds(inside, near, sounds, height) > MOSTLY


def _share_that_sounds(
    inside: np.ndarray, near: np.ndarray, sounds: np.ndarray, height: float
) -> float:
    """Return the share of the input's values ``inside`` (up to ``height``) that would sound.

    As often as they do at values like them in ``near``, whose output ``sounds``.
    """
    edges = np.geomspace(VALUES_FROM, 1.0, VALUE_BINS) * height
    place = np.digitize(near, edges)
    counts = np.bincount(place, minlength=VALUE_BINS + 1)
    sounding = np.bincount(place, weights=sounds, minlength=VALUE_BINS + 1)
    share = sounding / np.maximum(counts, 1)
    return float(share[np.digitize(inside, edges)].mean())


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
