"""Three bands: a low shelf, a bell whose centre moves, a high shelf.

R. Bristow-Johnson, "Audio EQ Cookbook".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.biquad import Biquad, bell, high_shelf, low_shelf
from audiform.dsp.recursive_filter import recursive_filter
from audiform.knob import Knob

LOW_HZ = 150.0
HIGH_HZ = 5000.0
QUALITY = 0.9

#: No corner lies higher, as a share of the sample rate: at half of it a band has no width.
HIGHEST_SHARE = 0.45

KNOBS = (
    Knob(name="low_gain_db", unit="dB", minimum=-15.0, maximum=15.0, default=3.0),
    Knob(name="mid_gain_db", unit="dB", minimum=-15.0, maximum=15.0, default=-6.0),
    Knob(name="mid_hz", unit="Hz", minimum=200.0, maximum=4e3, default=800.0, scale="log"),
    Knob(name="high_gain_db", unit="dB", minimum=-15.0, maximum=15.0, default=3.0),
)


def bands(
    *,
    sample_rate: int,
    low_gain_db: float,
    mid_gain_db: float,
    mid_hz: float,
    high_gain_db: float,
) -> tuple[Biquad, Biquad, Biquad]:
    """Return the three filters, in the order in which sound goes through them."""
    low, middle, high, quality = torch.tensor(
        [low_gain_db, mid_gain_db, high_gain_db, QUALITY], dtype=torch.float64
    )
    low_corner, centre, high_corner = torch.tensor(
        [LOW_HZ, mid_hz, HIGH_HZ], dtype=torch.float64
    ).clamp(max=HIGHEST_SHARE * sample_rate)
    return (
        low_shelf(corner_hz=low_corner, gain_db=low, sample_rate=sample_rate),
        bell(centre_hz=centre, gain_db=middle, quality=quality, sample_rate=sample_rate),
        high_shelf(corner_hz=high_corner, gain_db=high, sample_rate=sample_rate),
    )


def equaliser(
    audio: Float[Tensor, "*leading time"],
    state: tuple[Tensor, ...] | None,
    *,
    sample_rate: int,
    low_gain_db: float,
    mid_gain_db: float,
    mid_hz: float,
    high_gain_db: float,
) -> tuple[Float[Tensor, "*leading time"], tuple[Tensor, ...]]:
    """Raise or lower each band; the state is that of the three filters."""
    filters = bands(
        sample_rate=sample_rate,
        low_gain_db=low_gain_db,
        mid_gain_db=mid_gain_db,
        mid_hz=mid_hz,
        high_gain_db=high_gain_db,
    )
    after = []
    wet = audio.double()  # between filters as well
    for biquad, before in zip(filters, state or (None,) * len(filters), strict=True):
        wet, left = recursive_filter(wet, biquad, before)
        after.append(left)
    return wet.to(audio.dtype), tuple(after)
