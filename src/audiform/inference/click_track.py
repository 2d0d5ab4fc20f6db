"""A click track read as the times of its beats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiform.errors import AudioError
from audiform.io.read import AudioReader

#: Clicks are told apart to so many seconds.
STEP_SECONDS = 0.001

#: A click has at least this share of the loudest one's peak.
LEAST_SHARE = 0.1

#: Before a click it was softer than that for so long: 600 clicks a minute at most.
QUIET_SECONDS = 0.1


def read_clicks(path: str | Path) -> list[float]:
    """Return when clicks begin, in seconds; raises :class:`AudioError` where there are not two."""
    with AudioReader(path) as reader:
        step = max(1, round(STEP_SECONDS * reader.info.sample_rate))
        rate = reader.info.sample_rate
        peaks, rest = [np.zeros(0)], np.zeros(0, np.float32)
        for block in reader:
            rest = np.concatenate([rest, np.abs(block).max(axis=0)])
            whole = len(rest) // step * step
            peaks.append(rest[:whole].reshape(-1, step).max(axis=1))
            rest = rest[whole:]
    level = np.concatenate(peaks)
    found: list[float] = []
    if len(level):
        loud = np.flatnonzero(level >= max(LEAST_SHARE * level.max(), 1e-4))
        quiet = round(QUIET_SECONDS * rate / step)
        begins = loud[np.diff(loud, prepend=-quiet - 1) > quiet]
        found = (begins * step / rate).tolist()
    if len(found) < 2:
        raise AudioError(
            f"{path} has {len(found)} clicks, and a grid takes at least two; give a track with "
            "a click on every beat and silence in between, or the tempo and offset as knobs"
        )
    return found
