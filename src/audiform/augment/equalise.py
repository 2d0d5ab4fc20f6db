"""A mixing desk's equaliser on each stem: low shelf, bell, high shelf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat
from torch import Tensor

from audiform.augment.layout import (
    AugmentationConfig,
    Share,
    StemLayout,
    draw_chance,
    draw_log_uniform,
    draw_uniform,
)
from audiform.dsp.biquad import bell, high_shelf, low_shelf
from audiform.dsp.fast_length import fast_length

#: Time after which the lowest shelf has rung out.
TAIL_SECONDS = 0.1

#: Places and widths of the three filters.
LOW_SHELF_HZ = (60.0, 300.0)
BELL_HZ = (300.0, 6000.0)
BELL_QUALITY = (0.5, 2.0)
HIGH_SHELF_HZ = (3000.0, 12000.0)


class EqualiseConfig(AugmentationConfig):
    """Probability for each stem, and the largest gain of each of the three filters."""

    kind: Literal["equalise"] = "equalise"
    share: Share = 0.4
    max_gain_db: NonNegativeFloat = 6.0


@dataclass(frozen=True)
class Equalise:
    """Settings of the desk; gains in the order low shelf, bell, high shelf."""

    gain_db: Float[Tensor, "batch source 3"]
    low_hz: Float[Tensor, "batch source"]
    bell_hz: Float[Tensor, "batch source"]
    bell_quality: Float[Tensor, "batch source"]
    high_hz: Float[Tensor, "batch source"]
    sample_rate: int


def draw_equalise(
    config: EqualiseConfig, layout: StemLayout, generator: torch.Generator
) -> Equalise:
    """Draw settings; a stem that is left alone has gains of 0 dB."""
    shape = layout.shape
    limits = (-config.max_gain_db, config.max_gain_db)
    used = draw_chance(config.share, shape, generator)
    gains = draw_uniform(limits, (*shape, 3), generator)
    below = 0.45 * layout.sample_rate
    return Equalise(
        gain_db=gains * used[..., None],
        low_hz=draw_log_uniform(LOW_SHELF_HZ, shape, generator).clamp(max=below),
        bell_hz=draw_log_uniform(BELL_HZ, shape, generator).clamp(max=below),
        bell_quality=draw_log_uniform(BELL_QUALITY, shape, generator),
        high_hz=draw_log_uniform(HIGH_SHELF_HZ, shape, generator).clamp(max=below),
        sample_rate=layout.sample_rate,
    )


def apply_equalise(
    stems: Float[Tensor, "batch source channel time"], drawn: Equalise
) -> Float[Tensor, "batch source channel time"]:
    """Filter the stems that have a gain."""
    used = drawn.gain_db.abs().amax(dim=-1) > 0.0
    if not used.any():
        return stems
    rate = drawn.sample_rate
    low_db, bell_db, high_db = drawn.gain_db[used].unbind(dim=-1)
    filters = (
        low_shelf(corner_hz=drawn.low_hz[used], gain_db=low_db, sample_rate=rate),
        bell(
            centre_hz=drawn.bell_hz[used],
            gain_db=bell_db,
            quality=drawn.bell_quality[used],
            sample_rate=rate,
        ),
        high_shelf(corner_hz=drawn.high_hz[used], gain_db=high_db, sample_rate=rate),
    )
    length = stems.shape[-1]
    n_fft = fast_length(length + round(TAIL_SECONDS * rate))
    frequencies = torch.linspace(0.0, math.pi, n_fft // 2 + 1)
    out = stems.clone()
    responses = [filter_.response(frequencies) for filter_ in filters]
    response = responses[0] * responses[1] * responses[2]
    spectra = torch.fft.rfft(stems[used], n=n_fft) * response[:, None]
    out[used] = torch.fft.irfft(spectra, n=n_fft)[..., :length]
    return out
