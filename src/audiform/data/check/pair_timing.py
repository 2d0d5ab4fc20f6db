"""How the delay of an effect's output moves: clocks that differ, lost buffers, uneven tape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor

from audiform.data.check.pair_rate import EXPLAINS_MORE, stretched
from audiform.data.check.pair_wander import wander_samples
from audiform.data.effect_alignment import (
    DULL_PHASE_FLOOR,
    FADE_SECONDS,
    PHASE_FLOOR,
    PieceLag,
    aligned,
    estimate_alignment,
    faded,
    phase_correlation,
    piece_lags,
    residual_share,
)

#: Pieces whose own delay stands out less are not believed.
CLEAR_PIECE = 9.0

#: Floors of phase correlations, the second for sound without treble, whose peaks are lower.
CLEAR_PIECES = ((PHASE_FLOOR, CLEAR_PIECE), (DULL_PHASE_FLOOR, 5.5))

#: A delay has moved where it differs by this many samples, and by this many times the usual.
MOVED_SAMPLES, MOVED_FACTOR = 8.0, 6.0

#: Delays that differ by less than this share of the largest step may be one.
LIKE_SHARE = 0.1

#: Moments of jumps are known to within so many seconds.
JUMP_SECONDS = 1.0

#: A jump's other delay has no peak of this share of the highest.
OTHER_TAP = 0.35

#: A clock differs where the delay follows a straight line to within this share of its rise.
STRAIGHT_SHARE = 0.25

#: Rise of the delay over a recording from which on clocks differ, in samples.
CLOCK_SAMPLES = 3.0


@dataclass(frozen=True)
class Timing:
    """How the delay moves. ``start_samples`` is what is to be added to the delay at the start.

    ``jumps`` are moments in seconds with by how many samples the output is later from there on.
    ``drift_ppm`` is by how much the output's clock is slow (parts per million), 0 where clocks
    agree, and ``line_start_samples`` what its straight line adds to the delay at the start.
    ``spread_samples`` is how far the delay moves in all; ``wanders``: to and fro, as a tape's.
    """

    start_samples: int = 0
    jumps: tuple[tuple[float, float], ...] = ()
    drift_ppm: float = 0.0
    line_start_samples: float = 0.0
    spread_samples: float = 0.0
    wanders: bool = False

    def samples_late(self, count: int, rate: int) -> np.ndarray:
        """Return by how many samples each of the first ``count`` comes later than the first."""
        place = np.arange(count)
        late = place * (1e-6 * self.drift_ppm)
        if self.drift_ppm:
            late += self.line_start_samples
        for at, step in self.jumps:
            late[round(at * rate) :] += step
        return np.rint(late).astype(np.int64)


def follow(dry: Tensor, wet: Tensor, rate: int, lag_samples: int) -> Timing:
    """Return how the delay moves over the recording."""
    first = _clear_pieces(dry, wet, rate, lag_samples, is_equalised=False)
    if len(first) < 4:
        return _as_tape(wander_samples(dry, wet, rate, lag_samples))
    jumping = _jumping(dry, wet, rate, lag_samples, first)
    if jumping is not None:
        return jumping
    for floor, clear in CLEAR_PIECES:
        clock = _clock(dry, wet, rate, lag_samples, floor, clear)
        if clock is not None:
            return clock
    return _as_tape(wander_samples(dry, wet, rate, lag_samples))


def _jumping(
    dry: Tensor, wet: Tensor, rate: int, lag_samples: int, pieces: Sequence[PieceLag]
) -> Timing | None:
    """Return the jumps of the delay; None where there are none.

    Beside a large jump the delay may differ with what is played by more than a small one.
    """
    lags = np.array([piece.lag_samples for piece in pieces])
    steps = np.abs(np.diff(lags))
    least = max(MOVED_SAMPLES, MOVED_FACTOR * (float(np.median(steps)) + 0.2))
    for threshold in (least, max(least, LIKE_SHARE * float(steps.max()))):
        jumps = tuple(
            jump
            for jump in _jumps(pieces, threshold)
            if _is_confirmed(dry, wet, rate, lag_samples, jump)
        )
        if jumps:
            before = [piece.lag_samples for piece in pieces if piece.seconds < jumps[0][0]]
            start = round(float(np.median(before)))
            return Timing(
                start_samples=start if abs(start) >= MOVED_SAMPLES else 0,
                jumps=jumps,
                spread_samples=float(np.ptp(lags)),
            )
    return None


def _as_tape(wander: float) -> Timing:
    return Timing(spread_samples=wander, wanders=wander > 0.0)


def _clock(
    dry: Tensor, wet: Tensor, rate: int, lag_samples: int, floor: float, clear: float
) -> Timing | None:
    """Return by how much clocks differ; None where the delay does not follow a straight line."""
    first, second = (
        _clear_pieces(
            dry, wet, rate, lag_samples, is_equalised=is_equalised, floor=floor, clear=clear
        )
        for is_equalised in (False, True)
    )
    if min(len(first), len(second)) < 4:
        return None
    slope, line_start, bend = _line(first)
    rise = slope * (first[-1].seconds - first[0].seconds)
    other_rise = _line(second)[0] * (first[-1].seconds - first[0].seconds)
    is_straight = bend < STRAIGHT_SHARE * abs(rise) / 4
    if not is_straight or abs(rise) <= CLOCK_SAMPLES:
        return None
    # Through a filter another sound has another delay: equalised it has not, a clock still has,
    # unless each sound has frequencies of its own, that equalising puts right one by one.
    is_a_clock = other_rise * rise > 0.3 * rise**2
    if not is_a_clock and not _fits_once_undone(dry, wet, rate, lag_samples, slope, line_start):
        return None
    return Timing(
        drift_ppm=1e6 * slope / rate, line_start_samples=line_start, spread_samples=abs(rise)
    )


def _fits_once_undone(
    dry: Tensor, wet: Tensor, rate: int, lag_samples: int, slope: float, line_start: float
) -> bool:
    """Whether a filter makes much more of the output of the input once the drift is undone."""
    x, y = (part.double() for part in aligned(dry, wet, lag_samples + round(line_start)))
    undone = stretched(y, 1.0 / (1.0 + slope / rate))
    length = min(len(x), len(undone))
    before, after = (residual_share(x[:length], part[:length]) for part in (y, undone))
    return after < EXPLAINS_MORE * before


def _line(pieces: Sequence[PieceLag]) -> tuple[float, float, float]:
    """Return slope, start and usual distance of the line through the pieces' delays."""
    seconds = np.array([piece.seconds for piece in pieces])
    lags = np.array([piece.lag_samples for piece in pieces])
    slope = _median_slope(seconds, lags)
    start = float(np.median(lags - slope * seconds))
    return slope, start, float(np.median(np.abs(lags - slope * seconds - start)))


def _clear_pieces(
    dry: Tensor,
    wet: Tensor,
    rate: int,
    lag_samples: int,
    *,
    is_equalised: bool,
    floor: float = PHASE_FLOOR,
    clear: float = CLEAR_PIECE,
) -> list[PieceLag]:
    pieces = piece_lags(
        dry=dry,
        wet=wet,
        sample_rate=rate,
        lag_samples=lag_samples,
        is_equalised=is_equalised,
        floor=floor,
    )
    return [piece for piece in pieces if piece.clarity > clear]


def _is_confirmed(
    dry: Tensor, wet: Tensor, rate: int, lag_samples: int, jump: tuple[float, float]
) -> bool:
    """Whether what is before and what is after a jump are aligned so differently.

    A filter shows other delays for other sounds, but its alignment stays; a room shows now this
    reflection and now that, but both are there all the time.
    """
    at, step = round(jump[0] * rate), round(jump[1])
    x, y = (part.double() for part in aligned(dry, wet, lag_samples))
    margin, search = round(0.4 * rate), round(max(0.01 * rate, 2.0 * abs(step)))
    fade = round(FADE_SECONDS * rate)
    parts = [slice(max(0, at - 4 * rate), at - margin), slice(at + margin, at + 4 * rate)]
    if min(len(x[part]) for part in parts) < rate // 2:
        return False
    fits, shares = [], []
    for part, away in zip(parts, (step, -step), strict=True):
        fit = estimate_alignment(
            dry=x[part], wet=y[part], sample_rate=rate, max_lag_seconds=search / rate
        )
        # Two that are cut at one moment would click together, at no delay.
        heights = phase_correlation(faded(x[part], fade), faded(y[part], fade), search).abs()
        top = int(heights.argmax())
        other = max(2, min(len(heights) - 3, top + away))
        shares.append(float(heights[other - 2 : other + 3].max() / heights[top]))
        fits.append(fit.lag_samples)
    return abs(fits[1] - fits[0] - step) <= 2.0 + 0.1 * abs(step) and max(shares) < OTHER_TAP


def _jumps(pieces: Sequence[PieceLag], least: float) -> tuple[tuple[float, float], ...]:
    """Return where the delay steps from one level to another; both have to last two pieces.

    Pieces overlap by half, so that one that straddles the step may show either level or none.
    """
    levels: list[list[PieceLag]] = [[pieces[0]]]
    for piece in pieces[1:]:
        if abs(piece.lag_samples - levels[-1][-1].lag_samples) > least:
            levels.append([])
        levels[-1].append(piece)
    lasting = [level for level in levels if len(level) >= 2]
    jumps = []
    for before, after in pairwise(lasting):
        levels_of = [np.median([piece.lag_samples for piece in level]) for level in (before, after)]
        step = float(levels_of[1] - levels_of[0])
        if abs(step) > least:
            jumps.append(((before[-1].seconds + after[0].seconds) / 2, float(round(step))))
    return tuple(jumps)


def _median_slope(x: np.ndarray, y: np.ndarray) -> float:
    """Return the median of the slopes between all pairs of points (Theil and Sen)."""
    keep = np.linspace(0, len(x) - 1, min(len(x), 120)).round().astype(int)
    x, y = x[keep], y[keep]
    rows, columns = np.triu_indices(len(x), 1)
    run = x[columns] - x[rows]
    return float(np.median((y[columns] - y[rows])[run > 0] / run[run > 0]))
