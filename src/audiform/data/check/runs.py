"""Runs of flags, and whether moments come regularly."""

from __future__ import annotations

import numpy as np

#: So many moments at equal distances are a rule.
CHOPS = 6


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
    return float(np.mean(np.abs(gaps - usual) < 0.15 * usual)) > 0.6
