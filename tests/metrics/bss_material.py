"""Deterministic material for BSSEval, and the campaign's own program to score it.

``python -m tests.metrics.bss_material`` writes ``tests/golden/bss_eval_v4.json`` anew: what
museval 0.4.1 says (pip install museval; its readers of data sets, which want the program
ffmpeg, are not needed and kept out).
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden" / "bss_eval_v4.json"

#: In the order in which museval returns them.
RATIOS = ("sdr", "isr", "sir", "sar")

#: A low rate keeps the windows short.
SAMPLE_RATE = 8000


@dataclass(frozen=True)
class Case:
    """References and estimates (sources, channels, time), and how they are cut into windows."""

    reference: np.ndarray
    estimate: np.ndarray
    window: int = SAMPLE_RATE
    hop: int = SAMPLE_RATE


def cases() -> dict[str, Case]:
    """Return all material by name."""
    band = _separated(num_sources=3, seconds=6.4, seed=1)
    band.reference[1, :, 2 * SAMPLE_RATE : 3 * SAMPLE_RATE] = 0
    band.reference[1, 1, 2 * SAMPLE_RATE + 100] = 0.25  # one sample sounds: no silent window
    band.reference[2, :, 3 * SAMPLE_RATE : 4 * SAMPLE_RATE] = 0
    band.estimate[0, :, 4 * SAMPLE_RATE : 5 * SAMPLE_RATE] = 0
    # opposite channels are silence to the campaign's program, which adds them up
    band.reference[0, 1, :SAMPLE_RATE] = -band.reference[0, 0, :SAMPLE_RATE]
    mono = _separated(num_sources=2, seconds=2.0, seed=2, audio_channels=1)
    twin = _separated(num_sources=2, seconds=3.0, seed=3)
    twin.reference[1, 1] = twin.reference[1, 0]
    twin.estimate[1, 1] = twin.estimate[1, 0]
    overlapping = _separated(num_sources=2, seconds=2.6, seed=4)
    return {
        "stereo_with_silent_windows": band,
        "one_channel": mono,
        "a_mono_source_in_two_channels": twin,
        "overlapping_windows": Case(
            overlapping.reference, overlapping.estimate, window=7001, hop=3000
        ),
        "shorter_than_a_window": _separated(num_sources=2, seconds=0.7, seed=5),
    }


def museval_metrics() -> Any:
    """Return the module with museval's figures; raises ImportError where it is not installed."""
    kept = {name: sys.modules.get(name) for name in ("musdb", "stempeg")}
    try:
        for name in kept:
            sys.modules[name] = types.ModuleType(name)
        return importlib.import_module("museval.metrics")
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def museval_scores(case: Case) -> np.ndarray:
    """Return museval's figures: (ratios, sources, windows)."""
    found = museval_metrics().bss_eval(
        case.reference.transpose(0, 2, 1),
        case.estimate.transpose(0, 2, 1),
        window=case.window,
        hop=case.hop,
    )
    return np.stack(found[:4])


def _separated(*, num_sources: int, seconds: float, seed: int, audio_channels: int = 2) -> Case:
    """Return coloured noise, and estimates that are filtered, mixed and noisy."""
    random = np.random.RandomState(seed)  # its stream is frozen by NumPy's policy
    length = int(seconds * SAMPLE_RATE)
    shape = (num_sources, audio_channels, length)
    reference = np.stack(
        [_coloured(random.standard_normal(shape[1:]), decay=0.3 + 0.2 * i) for i in range(shape[0])]
    )
    reference *= 0.1 * (1 + np.arange(num_sources))[:, None, None]
    leaked = reference + 0.1 * reference.sum(0) + 0.2 * np.roll(reference, 37, axis=-1)
    estimate = leaked + 0.005 * random.standard_normal(shape)
    return Case(_to_16_bits(reference), _to_16_bits(estimate))


def _coloured(noise: np.ndarray, *, decay: float) -> np.ndarray:
    kernel = decay ** np.arange(40)
    return np.stack([np.convolve(row, kernel)[: len(row)] for row in noise])


def _to_16_bits(audio: np.ndarray) -> np.ndarray:
    return np.round(audio.clip(-1, 1) * 2**15) / 2**15


if __name__ == "__main__":
    figures = {
        name: dict(zip(RATIOS, np.round(museval_scores(case), 6).tolist(), strict=True))
        for name, case in cases().items()
    }
    GOLDEN.write_text(json.dumps(figures, indent=1) + "\n")  # with NaN, which Python reads again
