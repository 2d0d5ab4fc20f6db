"""A level for each mixture: its largest magnitude, as networks of magnitudes want it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from audiform.augment.layout import (
    AugmentationConfig,
    Share,
    StemLayout,
    draw_chance,
    draw_log_uniform,
)
from audiform.dsp.spectral_peak import SILENT_PEAK
from audiform.dsp.stft import StftSpec, stft


class PeakLevelConfig(AugmentationConfig):
    """Probability for each example; limits of its largest magnitude in a Fourier transform.

    In use it is one over a whole song (:class:`audiform.dsp.spectral_peak.SpectralPeak`), and
    so at most one in a part of it. ``n_fft`` and ``hop_length`` are those of the network. Last
    in a chain: what follows would change the level again.
    """

    kind: Literal["peak-level"] = "peak-level"
    share: Share = 1.0
    n_fft: PositiveInt = 2048
    hop_length: PositiveInt = 1024
    lowest: float = Field(0.25, gt=0.0)
    highest: float = Field(1.0, gt=0.0)


@dataclass(frozen=True)
class PeakLevel:
    """Largest magnitude that the mixture of each example gets, and of which transform.

    0 leaves it as it is.
    """

    peak: Float[Tensor, " batch"]
    stft: StftSpec


def draw_peak_level(
    config: PeakLevelConfig, layout: StemLayout, generator: torch.Generator
) -> PeakLevel:
    """Draw levels, spread evenly over decibels."""
    limits = (config.lowest, config.highest)
    shape = (layout.batch_size,)
    peak = draw_log_uniform(limits, shape, generator)
    peak = torch.where(draw_chance(config.share, shape, generator), peak, 0.0)
    return PeakLevel(peak, StftSpec(config.n_fft, config.hop_length))


def apply_peak_level(
    stems: Float[Tensor, "batch source channel time"], drawn: PeakLevel
) -> Float[Tensor, "batch source channel time"]:
    """Bring each mixture to its level; silence stays silent."""
    half = drawn.stft.n_fft // 2
    mixture = F.pad(stems.sum(dim=1), (half, half))
    found = stft(mixture, drawn.stft, centred=False).abs().amax(dim=(1, 2, 3))
    changed = (drawn.peak > 0).to(found.device) & (found > SILENT_PEAK)
    factor = torch.where(changed, drawn.peak.to(stems) / found, 1.0)
    return stems * factor[:, None, None, None]
