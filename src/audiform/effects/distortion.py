"""A curve without memory: tanh, lopsided if wanted.

Not oversampled, so that what it folds back is part of the truth a network is held against.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from audiform.knob import Knob

KNOBS = (
    Knob(name="drive_db", unit="dB", minimum=0.0, maximum=40.0, default=20.0),
    Knob(name="asymmetry", minimum=0.0, maximum=1.0, default=0.0),
    Knob(name="level_db", unit="dB", minimum=-24.0, maximum=0.0, default=-6.0),
)


def distortion(
    audio: Float[Tensor, "*leading time"],
    state: None,
    *,
    sample_rate: int,
    drive_db: float,
    asymmetry: float,
    level_db: float,
) -> tuple[Float[Tensor, "*leading time"], None]:
    """Return ``level (tanh(drive x + asymmetry) - tanh(asymmetry))``, at any sample rate."""
    drive, level = 10.0 ** (drive_db / 20.0), 10.0 ** (level_db / 20.0)
    return level * ((drive * audio + asymmetry).tanh() - math.tanh(asymmetry)), None
