"""Runs of flags, and which of them come regularly."""

from __future__ import annotations

import numpy as np

#: So many moments at equal distances are a rule.
CHOPS = 6

#: Distances that differ by less than this share are one.
STEP_SHARE = 0.15


def runs_of(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def is_regular(moments: list[float]) -> bool:
    """Whether most moments follow each other at one distance."""
    if len(moments) < CHOPS:
        return False
    gaps = np.diff(moments)
    usual = float(np.median(gaps))
    return float(np.mean(np.abs(gaps - usual) < STEP_SHARE * usual)) > 0.6


def out_of_step(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the runs that come by themselves: all where they are not regular.

    Where they are, those that begin at no usual distance from another one.
    """
    starts = [start for start, _ in runs]
    if not is_regular([float(start) for start in starts]):
        return runs
    usual = float(np.median(np.diff(starts)))
    least, most = (1 - STEP_SHARE) * usual, (1 + STEP_SHARE) * usual
    is_in_step = np.zeros(len(runs), bool)
    for low, high in ((-most, -least), (least, most)):
        first, last = (np.searchsorted(starts, np.add(starts, edge)) for edge in (low, high))
        is_in_step |= last > first
    return [run for run, known in zip(runs, is_in_step, strict=True) if not known]
