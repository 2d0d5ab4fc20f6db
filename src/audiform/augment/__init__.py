"""Augmentation: functions of tensors and an explicit generator.

Adding one: write its file (configuration, drawn parameters, a function that draws and one that
applies), add its line to ``AUGMENTATIONS`` and its configuration to ``AugmentStep``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from audiform.augment.absent import AbsentConfig, apply_absent, draw_absent
from audiform.augment.band_limit import BandLimitConfig, apply_band_limit, draw_band_limit
from audiform.augment.channel_swap import ChannelSwapConfig, apply_channel_swap, draw_channel_swap
from audiform.augment.equalise import EqualiseConfig, apply_equalise, draw_equalise
from audiform.augment.gain import GainConfig, apply_gain, draw_gain
from audiform.augment.gain_db import GainDbConfig, draw_gain_db
from audiform.augment.layout import AugmentationConfig
from audiform.augment.limit import LimitConfig, apply_limit, draw_limit
from audiform.augment.peak_level import PeakLevelConfig, apply_peak_level, draw_peak_level
from audiform.augment.polarity import PolarityConfig, apply_polarity, draw_polarity
from audiform.augment.remix import RemixConfig, apply_remix, draw_remix
from audiform.augment.repitch import (
    RepitchConfig,
    apply_repitch,
    draw_repitch,
    repitch_input_samples,
)
from audiform.augment.reverb import ReverbConfig, apply_reverb, draw_reverb
from audiform.augment.saturate import SaturateConfig, apply_saturate, draw_saturate
from audiform.augment.shift import ShiftConfig, apply_shift, draw_shift, shift_input_samples


def _same_length(config: Any, samples: int, sample_rate: int) -> int:
    return samples


class Augmentation(NamedTuple):
    """``apply(stems, draw(config, layout, generator))``; stems (batch, sources, channels, time).

    ``input_samples(config, samples, sample_rate)`` is how long stems must be to come out with
    ``samples``.
    """

    config: type[AugmentationConfig]
    draw: Callable[..., Any]
    apply: Callable[..., Any]
    input_samples: Callable[[Any, int, int], int] = _same_length


#: Kind, as configurations give it -> functions.
AUGMENTATIONS: dict[str, Augmentation] = {
    "absent": Augmentation(AbsentConfig, draw_absent, apply_absent),
    "band-limit": Augmentation(BandLimitConfig, draw_band_limit, apply_band_limit),
    "channel-swap": Augmentation(ChannelSwapConfig, draw_channel_swap, apply_channel_swap),
    "equalise": Augmentation(EqualiseConfig, draw_equalise, apply_equalise),
    "gain": Augmentation(GainConfig, draw_gain, apply_gain),
    "gain-db": Augmentation(GainDbConfig, draw_gain_db, apply_gain),
    "limit": Augmentation(LimitConfig, draw_limit, apply_limit),
    "peak-level": Augmentation(PeakLevelConfig, draw_peak_level, apply_peak_level),
    "polarity": Augmentation(PolarityConfig, draw_polarity, apply_polarity),
    "remix": Augmentation(RemixConfig, draw_remix, apply_remix),
    "repitch": Augmentation(RepitchConfig, draw_repitch, apply_repitch, repitch_input_samples),
    "reverb": Augmentation(ReverbConfig, draw_reverb, apply_reverb),
    "saturate": Augmentation(SaturateConfig, draw_saturate, apply_saturate),
    "shift": Augmentation(ShiftConfig, draw_shift, apply_shift, shift_input_samples),
}

#: One step of a chain, as a field of a recipe: read back from JSON by its ``kind``.
AugmentStep = Annotated[
    AbsentConfig
    | BandLimitConfig
    | ChannelSwapConfig
    | EqualiseConfig
    | GainConfig
    | GainDbConfig
    | LimitConfig
    | PeakLevelConfig
    | PolarityConfig
    | RemixConfig
    | RepitchConfig
    | ReverbConfig
    | SaturateConfig
    | ShiftConfig,
    Field(discriminator="kind"),
]
