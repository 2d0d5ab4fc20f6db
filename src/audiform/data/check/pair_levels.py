"""Levels of an effect's input and output over time."""

from __future__ import annotations

import numpy as np

from audiform.data.check.mixing import decibels

#: Length of the frames in which levels are compared.
FRAME_SECONDS = 0.02


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
