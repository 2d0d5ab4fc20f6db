"""Mixtures without treble: what was recorded at 16 kHz, or went through a codec."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.augment.layout import (
    AugmentationConfig,
    Share,
    StemLayout,
    draw_chance,
    draw_uniform,
)
from audiform.dsp.fast_length import fast_length

#: Width of the slope, as a share of the cutoff, and the time in which its ringing fades.
SLOPE_SHARE = 0.05
TAIL_SECONDS = 0.05


class BandLimitConfig(AugmentationConfig):
    """Probability for each example, limits of the cutoff."""

    kind: Literal["band-limit"] = "band-limit"
    share: Share = 0.15
    cutoff_hz: tuple[float, float] = (7000.0, 17000.0)


@dataclass(frozen=True)
class BandLimit:
    """Frequency above which nothing is left in an example; infinite where all is."""

    cutoff_hz: Float[Tensor, " batch"]
    sample_rate: int


def draw_band_limit(
    config: BandLimitConfig, layout: StemLayout, generator: torch.Generator
) -> BandLimit:
    """Draw a cutoff for each example: all its stems come from the same recording."""
    shape = (layout.batch_size,)
    cutoff = draw_uniform(config.cutoff_hz, shape, generator)
    limited = draw_chance(config.share, shape, generator)
    return BandLimit(torch.where(limited, cutoff, torch.inf), layout.sample_rate)


def apply_band_limit(
    stems: Float[Tensor, "batch source channel time"], drawn: BandLimit
) -> Float[Tensor, "batch source channel time"]:
    """Cut with a slope of a squared cosine, without a change of phase."""
    used = drawn.cutoff_hz.isfinite()
    if not used.any():
        return stems
    length = stems.shape[-1]
    n_fft = fast_length(length + round(TAIL_SECONDS * drawn.sample_rate))
    frequency = torch.linspace(0.0, drawn.sample_rate / 2, n_fft // 2 + 1)
    cutoff = drawn.cutoff_hz[used, None]
    place = ((cutoff - frequency) / (SLOPE_SHARE * cutoff)).clamp(0.0, 1.0)
    passed = torch.sin(math.pi / 2 * place).square()
    spectra = torch.fft.rfft(stems[used], n=n_fft) * passed[:, None, None]
    out = stems.clone()
    out[used] = torch.fft.irfft(spectra, n=n_fft)[..., :length]
    return out
