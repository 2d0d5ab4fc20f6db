"""A Butterworth low-pass filter of third order.

S. Butterworth, "On the Theory of Filter Amplifiers" (1930), carried over by the bilinear
transform with its corner where it was asked for. Range as in the published SignalTrain.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.biquad import Biquad
from audiform.dsp.recursive_filter import recursive_filter
from audiform.errors import ConfigError
from audiform.knob import Knob

KNOBS = (Knob(name="cutoff_hz", unit="Hz", minimum=10.0, maximum=2e3, default=500.0, scale="log"),)


def sections(cutoff_hz: float, sample_rate: int) -> tuple[Biquad, Biquad]:
    """Return the pole alone and the pair of poles; their product is the filter.

    Raises :class:`ConfigError` for a cut-off that the sample rate cannot carry.
    """
    if not 0.0 < cutoff_hz < sample_rate / 2:
        raise ConfigError(
            f"a cut-off of {cutoff_hz:g} Hz was asked for at {sample_rate} Hz; "
            f"it must be below {sample_rate / 2:g} Hz"
        )
    tangent = math.tan(math.pi * cutoff_hz / sample_rate)
    single = Biquad(
        torch.tensor([tangent, tangent, 0.0], dtype=torch.float64),
        torch.tensor([tangent + 1.0, tangent - 1.0, 0.0], dtype=torch.float64),
    )
    square = tangent * tangent  # analogue prototype: s^2 + s + 1
    pair = Biquad(
        torch.tensor([square, 2 * square, square], dtype=torch.float64),
        torch.tensor(
            [square + tangent + 1.0, 2 * (square - 1.0), square - tangent + 1.0],
            dtype=torch.float64,
        ),
    )
    return single, pair


def low_pass(
    audio: Float[Tensor, "*leading time"],
    state: tuple[Tensor, Tensor] | None,
    *,
    sample_rate: int,
    cutoff_hz: float,
) -> tuple[Float[Tensor, "*leading time"], tuple[Tensor, Tensor]]:
    """Lower what is above the cut-off by 18 dB an octave; the state is that of two filters."""
    single, pair = sections(cutoff_hz, sample_rate)
    before_single, before_pair = state or (None, None)
    wet, after_single = recursive_filter(audio.double(), single, before_single)
    wet, after_pair = recursive_filter(wet, pair, before_pair)
    return wet.to(audio.dtype), (after_single, after_pair)
