"""Whether a recording repeats itself, so that its delay cannot be told."""

from __future__ import annotations

import torch
from torch import Tensor

from audiform.data.check.loudest import loudest
from audiform.data.effect_alignment import aligned, phase_correlation
from audiform.dsp.fast_length import fast_length

#: An input that correlates like this with itself, further away than this, repeats itself.
REPEATS, PERIOD_SECONDS = 0.5, 0.05

#: Another delay by which output and input correlate like this, against the best, fits as well.
OTHER_PEAK = 0.5


def repeats_itself(dry: Tensor, wet: Tensor, rate: int, lag_samples: int) -> bool:
    """Whether the input repeats itself, so that other delays fit nearly as well."""
    count = min(len(dry), round(12.0 * rate))
    start = loudest(dry, count)
    x, y = aligned(dry[start : start + count].double(), wet[start:].double(), lag_samples)
    x, y = x - x.mean(), y - y.mean()
    n_fft = fast_length(2 * len(x))
    own = torch.fft.irfft(torch.fft.rfft(x, n_fft).abs().square(), n_fft)
    away, end = round(PERIOD_SECONDS * rate), len(x) // 2
    share = 1.0 - torch.arange(away, end) / len(x)
    if end <= away or float((own[away:end] / share).max()) < REPEATS * float(own[0]):
        return False
    cross = phase_correlation(x, y, end).abs()
    near = float(cross[end - away : end + away].max())
    others = max(float(cross[: end - away].max()), float(cross[end + away :].max()))
    return others > OTHER_PEAK * near
