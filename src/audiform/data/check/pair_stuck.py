"""Where an effect's output sits at its highest value, as simulations that start anew do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.check.runs import is_regular, runs_of

#: A target that stays at its highest value for so long is stuck, in seconds; a part of a period
#: is settled where its RMS is no further than this from the last part's.
STUCK_SECONDS, SETTLED_RATIO, PARTS = 0.03, 1.1, 16


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
        for run in runs_of(magnitude >= 0.9999 * magnitude.max(initial=0.0))
        if run[1] - run[0] >= shortest
    ]
    if not runs or not magnitude.any():
        return None
    starts = np.array([start for start, _ in runs])
    longest = max(end - start for start, end in runs) / rate
    seconds = tuple((starts / rate).tolist())
    if not is_regular(list(seconds)):
        return Stuck(seconds, longest)
    period = round(float(np.median(np.diff(starts))))
    periods = wet[starts[0] : starts[0] + (len(wet) - starts[0]) // period * period]
    profile = periods.reshape(-1, period)[:, : period // PARTS * PARTS]
    parts = np.square(profile, dtype=np.float64).reshape(len(profile), PARTS, -1).mean(axis=(0, 2))
    loud = np.flatnonzero(np.sqrt(parts) > SETTLED_RATIO * np.sqrt(parts[-1]))
    settled = (int(loud[-1]) + 1) * period // PARTS if len(loud) else 0
    return Stuck(seconds, longest, period, settled)
