"""How an effect's output relates to its input: delay, polarity, drop-outs, whether it belongs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.check.mixing import decibels, whitened_correlation

#: Length of the frames in which levels are compared.
FRAME_SECONDS = 0.02

#: A block's own delay counts where its correlation stands out so far above the rest.
CLEAR_PEAK = 6.0

#: An input that correlates like this with itself, further away than this, repeats itself; where
#: the correlation with the output has another peak of this share, the delay is anybody's guess.
REPEATS, PERIOD_SECONDS, OTHER_PEAK = 0.5, 0.05, 0.3

#: Delays that differ by more from block to block are no drift, but unknown.
MAX_DRIFT_SECONDS = 0.02

#: Input within this of its loudest frame is loud, output this much below its loudest is out.
LOUD_DB, OUT_DB = -30.0, -90.0


@dataclass(frozen=True)
class PairFit:
    """``lag_samples``: how much later the output comes; its spread over the blocks that show it.

    ``is_periodic`` where other delays fit as well. ``polarity`` is the correlation's sign at
    that delay, ``clarity`` how far its peak stands above the rest (as a factor; below about 6
    nothing is known). ``level_correlation`` is that
    of the levels in dB over time, None where the input's level hardly moves.
    ``dropouts_seconds`` are where the output fails under a loud input. ``error_db`` is the
    energy of output minus input against the input: -200 for a copy.
    """

    lag_samples: int
    lag_spread_samples: int
    polarity: int
    clarity: float
    is_periodic: bool
    level_correlation: float | None
    dropouts_seconds: tuple[float, ...]
    error_db: float


class PairAccumulator:
    """Collects a :class:`PairFit` from blocks (time) of input and output."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._frame = max(1, round(FRAME_SECONDS * sample_rate))
        self._total: np.ndarray | None = None
        self._power: np.ndarray | None = None
        self._lags: list[tuple[int, float]] = []
        self._levels: list[np.ndarray] = []
        self._error = self._energy = 0.0

    def push(self, dry: np.ndarray, wet: np.ndarray) -> None:
        """Take in a block of both, of equal lengths."""
        self._error += float(np.square(wet - dry, dtype=np.float64).sum())
        self._energy += float(np.square(dry, dtype=np.float64).sum())
        frames = len(dry) // self._frame
        both = np.stack([dry, wet])[:, : frames * self._frame].reshape(2, frames, self._frame)
        self._levels.append(np.square(both, dtype=np.float64).mean(axis=2))
        correlation = whitened_correlation([(dry, wet)])
        if correlation is None or not np.any(correlation):
            return
        if self._total is None:
            self._total, self._power = correlation, _power(dry)
        elif len(correlation) == len(self._total):
            self._total, self._power = self._total + correlation, self._power + _power(dry)
        lag, clarity, _ = _peak(correlation)
        if clarity > CLEAR_PEAK:
            self._lags.append((lag, clarity))

    def finish(self) -> PairFit:
        """Return the fit."""
        lag, clarity, polarity = (0, 0.0, 1) if self._total is None else _peak(self._total)
        lags = np.array([lag for lag, _ in self._lags])
        spread = int(np.ptp(np.percentile(lags, [10, 90]))) if len(lags) >= 4 else 0
        levels = np.concatenate(self._levels, axis=1) if self._levels else np.zeros((2, 0))
        return PairFit(
            lag_samples=lag,
            lag_spread_samples=spread,
            polarity=polarity,
            clarity=clarity,
            is_periodic=spread > MAX_DRIFT_SECONDS * self._rate or self._is_periodic(),
            level_correlation=_level_correlation(levels, lag // self._frame),
            dropouts_seconds=self._dropouts(levels, lag // self._frame),
            error_db=float(decibels(self._error, self._energy)),
        )

    def _is_periodic(self) -> bool:
        """Whether the input repeats itself, and other delays fit nearly as well."""
        if self._total is None or self._power is None:
            return False
        repetition = np.fft.irfft(self._power, len(self._total))
        start = round(PERIOD_SECONDS * self._rate)
        others = np.roll(self._total, start - int(np.argmax(np.abs(self._total))))[2 * start :]
        return _repeats(repetition, start, REPEATS) and float(np.abs(others).max(initial=0)) > (
            OTHER_PEAK * float(np.abs(self._total).max())
        )

    def _dropouts(self, levels: np.ndarray, shift: int) -> tuple[float, ...]:
        """Return when the output is out for a few frames, between frames in which it is not."""
        dry, wet = _shifted(levels, shift)
        if not dry.size or not dry.any() or not wet.any():
            return ()
        loud = decibels(dry, dry.max()) > LOUD_DB
        out = decibels(wet, wet.max()) < OUT_DB
        is_hole = loud & out
        starts = np.flatnonzero(is_hole & ~np.concatenate(([False], is_hole[:-1])))
        inside = [start for start in starts if start > 0 and (~out[start:]).any()]
        return tuple(float((start + max(0, shift)) * FRAME_SECONDS) for start in inside)


def _peak(correlation: np.ndarray) -> tuple[int, float, int]:
    """Return lag, how far the peak stands above the rest, and its sign."""
    index = int(np.argmax(np.abs(correlation)))
    lag = index if index < len(correlation) // 2 else index - len(correlation)
    rest = float(np.sqrt(np.mean(np.square(correlation)))) + 1e-20
    return lag, float(abs(correlation[index])) / rest, 1 if correlation[index] >= 0 else -1


def _power(signal: np.ndarray) -> np.ndarray:
    return np.square(np.abs(np.fft.rfft(signal, 2 * len(signal))))


def _repeats(correlation: np.ndarray, start: int, share: float) -> bool:
    """Whether an autocorrelation, of a signal padded to twice its length, is high again."""
    quarter = len(correlation) // 4
    shrinkage = 1.0 - np.arange(quarter) / (2 * quarter)
    away = correlation[start:quarter] / shrinkage[start:]
    return float(away.max(initial=0.0)) > share * float(correlation[0])


def _shifted(levels: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    dry, wet = levels
    if abs(shift) >= dry.size:
        return dry[:0], wet[:0]
    if shift >= 0:
        return dry[: dry.size - shift], wet[shift:]
    return dry[-shift:], wet[:shift]


def _level_correlation(levels: np.ndarray, shift: int) -> float | None:
    dry, wet = _shifted(levels, shift)
    if dry.size < 8 or not dry.any() or not wet.any():
        return None
    in_db = np.maximum(decibels(dry, dry.max()), -60.0)
    out_db = np.maximum(decibels(wet, wet.max()), -60.0)
    if in_db.std() < 3.0:
        return None
    return float(np.corrcoef(in_db, out_db)[0, 1]) if out_db.std() > 0 else 0.0
