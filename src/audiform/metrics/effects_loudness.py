"""Loudness of a programme in LUFS, as ITU-R BS.1770-4 has it.

The standard gives the coefficients of its two filters for 48 kHz only; those for other rates come
from the analogue filters behind them (B. De Man, "Evaluation of Implementations of the EBU R128
Loudness Measurement", AES 145, 2018).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.biquad import Biquad
from audiform.dsp.recursive_filter import recursive_filter
from audiform.errors import AudioError

#: Makes 0 dB of a 997 Hz sine in one channel read -3.01 LUFS.
OFFSET_DB = -0.691

#: Left, right, centre, left surround, right surround.
CHANNEL_WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)

ABSOLUTE_GATE = -70.0
RELATIVE_GATE = -10.0
BLOCK_SECONDS = 0.4
STEPS_PER_BLOCK = 4

#: Head: a high shelf. Frequency in Hz, gain in dB, quality, exponent of the middle gain.
_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196, 0.4996667741545416)

#: A high-pass filter: frequency in Hz, quality.
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)


def k_weighting(sample_rate: int) -> tuple[Biquad, Biquad]:
    """Return the two filters that sound goes through, shelf first."""
    hz, gain_db, quality, exponent = _SHELF
    tangent = math.tan(math.pi * hz / sample_rate)
    high = 10.0 ** (gain_db / 20.0)
    middle = high**exponent
    shelf = _biquad(
        (
            high + middle * tangent / quality + tangent**2,
            2 * (tangent**2 - high),
            high - middle * tangent / quality + tangent**2,
        ),
        tangent,
        quality,
    )
    hz, quality = _HIGH_PASS
    tangent = math.tan(math.pi * hz / sample_rate)
    scale = 1 + tangent / quality + tangent**2  # the standard leaves its numerator 1, -2, 1
    return shelf, _biquad((scale, -2 * scale, scale), tangent, quality)


def _biquad(numerator: tuple[float, float, float], tangent: float, quality: float) -> Biquad:
    square = tangent**2
    scale = 1 + tangent / quality + square
    denominator = (scale, 2 * (square - 1), 1 - tangent / quality + square)
    return Biquad(
        torch.tensor(numerator, dtype=torch.float64) / scale,
        torch.tensor(denominator, dtype=torch.float64) / scale,
    )


def integrated_loudness(audio: Float[Tensor, "channels time"], sample_rate: int) -> float:
    """Return the gated loudness in LUFS; minus infinity where all is below the absolute gate.

    Raises :class:`AudioError` for less than 0.4 s or more than five channels.
    """
    size = round(BLOCK_SECONDS * sample_rate)
    if audio.shape[-1] < size or len(audio) > len(CHANNEL_WEIGHTS):
        raise AudioError(
            f"loudness takes at least {BLOCK_SECONDS} s of at most {len(CHANNEL_WEIGHTS)} "
            f"channels, found {audio.shape[-1] / sample_rate:.3g} s of {len(audio)}"
        )
    power = _block_power(audio, sample_rate, size)
    loud = power[_lufs(power) > ABSOLUTE_GATE]
    if len(loud) == 0:
        return -math.inf
    above = loud[_lufs(loud) > _lufs(loud.mean()) + RELATIVE_GATE]
    return _lufs(above.mean()).item()


def _lufs(power: Tensor) -> Tensor:
    return OFFSET_DB + 10.0 * torch.log10(power)


def _block_power(audio: Tensor, sample_rate: int, size: int) -> Float[Tensor, " block"]:
    """Return the weighted power of blocks of ``size`` samples that overlap by three quarters."""
    weighted = audio.double()
    for biquad in k_weighting(sample_rate):
        weighted, _ = recursive_filter(weighted, biquad)
    weights = torch.tensor(CHANNEL_WEIGHTS[: len(audio)], dtype=torch.float64)
    power = (weights[:, None] * weighted.square().cpu()).sum(dim=0)
    sums = torch.cat([power.new_zeros(1), power.cumsum(dim=0)])
    starts = torch.arange(0, len(power) - size + 1, size / STEPS_PER_BLOCK).round().long()
    return ((sums[starts + size] - sums[starts]) / size).clamp(min=0.0)


def loudness_error(
    *,
    estimate: Float[Tensor, "channels time"],
    reference: Float[Tensor, "channels time"],
    sample_rate: int,
) -> float:
    """Return the absolute difference of both loudnesses in LU; 0 where both are silent."""
    ours = integrated_loudness(estimate, sample_rate)
    theirs = integrated_loudness(reference, sample_rate)
    return 0.0 if ours == theirs else abs(ours - theirs)
