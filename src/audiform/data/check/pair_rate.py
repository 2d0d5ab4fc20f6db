"""Whether an output was recorded at another rate than its header says."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audiform.data.check.loudest import loudest
from audiform.data.effect_alignment import (
    Alignment,
    aligned,
    correlation_peak,
    estimate_alignment,
    phase_correlation,
    residual_share,
)
from audiform.dsp.fast_length import fast_length

#: Rates that sound cards have, in Hz; and the slow-down of film transfers: ratio of rates.
RATES_HZ = (22050, 24000, 32000, 44100, 48000, 88200, 96000)
FILM_RATIO = 1.001

#: Another rate is looked at where the correlation's peak stands out more than this.
CLEAR_RATE = 9.0

#: It is believed from this confidence on, where it is clearer or explains more.
SURE_RATE = 0.6

#: Seconds in which other rates are tried.
TRIED_SECONDS = 8.0

#: What explains more leaves less than this share open of what is open as it is.
EXPLAINS_MORE = 0.5


def wrong_rate(dry: Tensor, wet: Tensor, rate: int, found: Alignment) -> tuple[float, Alignment]:
    """Return by what ratio of rates the output fits the input, and how it does then.

    1 and ``found`` where no other ratio fits much better.
    """
    count = round(TRIED_SECONDS * rate)
    start = loudest(dry, count)
    x = dry[start : start + count].double()
    best = CLEAR_RATE, 1.0
    for ratio in (*rate_ratios(), FILM_RATIO, 1 / FILM_RATIO):
        y = _played(wet, start, count, ratio)
        if len(y) >= len(x) // 2:
            _, clarity, _ = correlation_peak(phase_correlation(x, y, rate))
            best = max(best, (clarity, ratio))
    ratio = best[1]
    if ratio == 1.0:
        return 1.0, found
    fit = estimate_alignment(dry=x, wet=_played(wet, start, count, ratio), sample_rate=rate)
    is_better = fit.confidence > SURE_RATE and (
        fit.confidence > found.confidence + 0.2
        or _left_open(x, _played(wet, start, count, ratio), fit)
        < EXPLAINS_MORE * _left_open(x, wet[start : start + count], found)
    )
    return (ratio, fit) if is_better else (1.0, found)


def _left_open(dry: Tensor, wet: Tensor, fit: Alignment) -> float:
    """Return the share of the output that no filter makes of the input, so aligned."""
    return residual_share(*aligned(dry, wet.double(), fit.lag_samples))


def rate_ratios() -> list[float]:
    """Return ratios of rates by which a file may be played wrongly."""
    ratios = {round(one / other, 6) for one in RATES_HZ for other in RATES_HZ if one != other}
    return sorted(ratio for ratio in ratios if 0.45 < ratio < 2.2)


def _played(wet: Tensor, start: int, count: int, ratio: float) -> Tensor:
    """Return what came out while ``count`` samples went in from ``start`` on, at ``ratio``."""
    begin = max(0, round(start / ratio))
    return stretched(wet[begin : begin + math.ceil(count / ratio)], ratio)


def stretched(audio: Tensor, ratio: float) -> Tensor:
    """Return ``audio`` as it sounds played ``ratio`` times slower, by its spectrum."""
    length = fast_length(len(audio))
    wanted = round(length * ratio)
    spectrum = torch.fft.rfft(audio.double(), n=length)
    bins = min(len(spectrum), wanted // 2 + 1)
    return torch.fft.irfft(spectrum[:bins], n=wanted)[: round(len(audio) * ratio)]
