"""Another level for each stem: decibels with a normal distribution."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat

from audiform.augment.gain import Gain
from audiform.augment.layout import AugmentationConfig, StemLayout


class GainDbConfig(AugmentationConfig):
    """Mean and standard deviation of the gain."""

    kind: Literal["gain-db"] = "gain-db"
    mean_db: float = 0.0
    deviation_db: NonNegativeFloat = 3.0


def draw_gain_db(config: GainDbConfig, layout: StemLayout, generator: torch.Generator) -> Gain:
    """Draw factors; :func:`audiform.augment.gain.apply_gain` applies them."""
    gain_db = config.mean_db + config.deviation_db * torch.randn(layout.shape, generator=generator)
    return Gain(10.0 ** (gain_db / 20.0))
