"""How an effect's output relates to its input, of all that is asked about a recorded pair."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from audiform.data.check.mixing import decibels
from audiform.data.check.pair_holes import find_holes
from audiform.data.check.pair_levels import frame_levels, level_correlation
from audiform.data.check.pair_noise import Noise, stationary_noise
from audiform.data.check.pair_offset import constant_offset, target_offset
from audiform.data.check.pair_periodic import repeats_itself
from audiform.data.check.pair_rate import rate_ratios, wrong_rate
from audiform.data.check.pair_stuck import Stuck, find_stuck
from audiform.data.check.pair_timing import JUMP_SECONDS, Timing, follow
from audiform.data.check.pair_wander import lag_of_pieces
from audiform.data.effect_alignment import (
    STATIC_BINS,
    Alignment,
    aligned,
    estimate_alignment,
    residual_share,
    static_residual_share,
)

#: So much of a recording is compared; the rest only goes through the checks of single files.
COMPARED_SECONDS = 600.0

#: Below this confidence input and output have nothing to do with each other, as they are.
RELATED = 0.35

#: The way back leaves at most this share of the energy open, the way there at least that: memory
#: leaves more than the first both ways.
BACK_SHARE, THERE_SHARE = 0.003, 0.015

#: A way back that leaves this share of what the way there leaves, of more than the first above,
#: is exact: what has no memory is exact on the way there.
EXACT_BACK = 0.01

#: Headers are doubted where the output would be early by more than this (no device is), in
#: seconds, or lengths differ as rates do, to within this share.
DOUBTED_EARLY_SECONDS, LIKE_RATES = 0.01, 0.002

#: A delay that may be none.
SMALL_LAG_SAMPLES = 16

#: What saturates has at half of its range this share of what it has at its end.
SATURATED_SHARE = 0.65


@dataclass(frozen=True)
class PairFit:
    """What was measured of a pair.

    ``rate_ratio`` is how much faster the output was played than recorded, 1 where it fits.
    ``level_correlation`` is that of the levels in dB over time, None where the input's level
    hardly moves. ``is_periodic``: other delays fit as well. ``is_swapped``: the input is a
    function of the output and not the other way round. ``dry_holes_seconds`` and
    ``wet_holes_seconds`` are drop-outs; ``dry_offset`` and ``wet_offset`` what is constant also
    where it is quiet. ``noise`` is what the output has of its own. ``stuck``: it stays at full
    scale. ``error_db`` is the energy of
    output minus input against the input: -200 for a copy.
    """

    alignment: Alignment
    timing: Timing
    rate_ratio: float
    level_correlation: float | None
    is_periodic: bool
    is_swapped: bool
    dry_holes_seconds: tuple[float, ...]
    wet_holes_seconds: tuple[float, ...]
    dry_offset: float
    wet_offset: float
    noise: Noise | None
    stuck: Stuck | None
    error_db: float

    @property
    def is_related(self) -> bool:
        """Whether input and output have to do with each other."""
        return self.alignment.confidence >= RELATED


class PairAccumulator:
    """Collects a :class:`PairFit` from blocks (time) of input and output, up to ten minutes."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._left = round(COMPARED_SECONDS * sample_rate)
        self._dry: list[np.ndarray] = []
        self._wet: list[np.ndarray] = []

    def push(self, dry: np.ndarray, wet: np.ndarray) -> None:
        """Take in a block of both, of equal lengths."""
        if self._left > 0:
            self._dry.append(dry[: self._left].astype(np.float32))
            self._wet.append(wet[: self._left].astype(np.float32))
            self._left -= len(dry)

    def finish(self, *, dry_samples: int, wet_samples: int) -> PairFit | None:
        """Return the fit of so many samples of each; None where there is too little of one."""
        dry = np.concatenate(self._dry or [np.zeros(0, np.float32)])[:dry_samples]
        wet = np.concatenate(self._wet or [np.zeros(0, np.float32)])[:wet_samples]
        if min(len(dry), len(wet)) < 1024 or not dry.any() or not wet.any():
            return None
        return fit_pair(dry, wet, self._rate)


def fit_pair(dry: np.ndarray, wet: np.ndarray, rate: int) -> PairFit:
    """Return what can be said of a pair (time)."""
    x, y = torch.from_numpy(dry), torch.from_numpy(wet)
    common = min(len(dry), len(wet))
    error = np.square(wet[:common] - dry[:common], dtype=np.float64).sum()
    found = estimate_alignment(dry=x, wet=y, sample_rate=rate)
    ratio = 1.0
    if found.confidence < 2 * RELATED or _is_doubted(found, len(dry), len(wet), rate):
        ratio, better = wrong_rate(x, y, rate, found)
        found = better if ratio != 1.0 else found
    if ratio == 1.0 and found.confidence < RELATED:
        lag = lag_of_pieces(x, y, rate)
        if lag is not None:
            found = replace(found, lag_samples=lag, polarity=0, confidence=RELATED)
    timing = Timing()
    if ratio == 1.0 and found.confidence >= RELATED:
        timing = follow(x, y, rate, found.lag_samples)
        found = replace(found, lag_samples=found.lag_samples + timing.start_samples)
    first, second = (part.numpy() for part in aligned(x, y, found.lag_samples))
    levels = frame_levels(first, second, rate)
    dry_holes, wet_holes = _holes(first, second, timing, rate)
    stuck = find_stuck(wet, rate)
    residual = residual_share(torch.from_numpy(first), torch.from_numpy(second))
    early, late = max(0, -found.lag_samples), max(0, found.lag_samples)
    return PairFit(
        alignment=found,
        timing=timing,
        rate_ratio=ratio,
        level_correlation=level_correlation(levels),
        is_periodic=repeats_itself(x, y, rate, found.lag_samples),
        is_swapped=ratio == 1.0
        and found.confidence >= RELATED
        and any(
            _is_swapped(*(part.numpy() for part in aligned(x, y, lag)))
            for lag in _static_lags(found.lag_samples)
        ),
        dry_holes_seconds=tuple(at + early / rate for at in dry_holes),
        wet_holes_seconds=tuple(at + late / rate for at in wet_holes),
        dry_offset=constant_offset(dry, rate),
        wet_offset=0.0 if stuck else target_offset(first, second, levels, rate, residual),
        noise=None if stuck else stationary_noise(first, second, levels, rate),
        stuck=stuck,
        error_db=float(decibels(error, np.square(dry[:common], dtype=np.float64).sum())),
    )


def _holes(
    dry: np.ndarray, wet: np.ndarray, timing: Timing, rate: int
) -> tuple[list[float], list[float]]:
    """Return drop-outs of both, found where the output lies once its movement is undone.

    Not beside a jump, whose place is known no better than that.
    """
    place = np.arange(len(wet)) + timing.samples_late(len(wet), rate)
    place = np.maximum(place[place < len(wet)], 0)
    dry, wet = dry[: len(place)], wet[place]
    found = find_holes(dry, wet, frame_levels(dry, wet, rate), rate)
    dry_holes, wet_holes = (
        [at for at in holes if all(abs(at - jump) > JUMP_SECONDS for jump, _ in timing.jumps)]
        for holes in found
    )
    return dry_holes, wet_holes


def _is_doubted(found: Alignment, dry_samples: int, wet_samples: int, rate: int) -> bool:
    """Whether a header may be wrong although a delay was found."""
    is_early = found.lag_samples < -DOUBTED_EARLY_SECONDS * rate
    lengths = dry_samples / wet_samples
    return is_early or any(abs(lengths / ratio - 1.0) < LIKE_RATES for ratio in rate_ratios())


def _static_lags(lag_samples: int) -> set[int]:
    """Return where a device without memory may lie: a small delay may be its bent waves' phase."""
    return {lag_samples, 0} if abs(lag_samples) <= SMALL_LAG_SAMPLES else {lag_samples}


def _is_swapped(dry: np.ndarray, wet: np.ndarray) -> bool:
    """Whether the output says what the input was, and the input does not say what comes out.

    What saturates is a function of its input that cannot be inverted.
    """
    step = max(1, len(dry) // 200_000)
    there = static_residual_share(dry[::step], wet[::step])
    back = static_residual_share(wet[::step], dry[::step])
    is_exact = there > BACK_SHARE and back < EXACT_BACK * there
    is_one_way = is_exact or (there > THERE_SHARE and back < BACK_SHARE)
    return is_one_way and _saturates(wet[::step], dry[::step])


def _saturates(given: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether ``wanted``, a function of ``given``, hardly grows where that is large."""
    order = np.argsort(given, kind="stable")
    count = len(order) // STATIC_BINS * STATIC_BINS
    places, values = (
        signal[order[:count]].astype(np.float64).reshape(STATIC_BINS, -1).mean(axis=1)
        for signal in (given, wanted)
    )
    middle = float(np.interp(0.0, places, values))
    shares = [
        (float(np.interp(end / 2, places, values)) - middle) / (value - middle)
        for end, value in ((places[0], values[0]), (places[-1], values[-1]))
        if value != middle
    ]
    return bool(shares) and min(shares) > SATURATED_SHARE
