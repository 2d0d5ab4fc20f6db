"""Convolution by way of the Fourier transform."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.fast_length import fast_length


def convolve(
    audio: Float[Tensor, "*leading time"], response: Float[Tensor, "*leading_or_one taps"]
) -> Float[Tensor, "*leading time"]:
    """Filter ``audio`` with an impulse response; what rings on beyond its end is cut off.

    The leading dimensions of ``response`` are those of ``audio``, or 1.
    """
    length = audio.shape[-1]
    n_fft = fast_length(length + response.shape[-1] - 1)
    spectrum = torch.fft.rfft(audio, n=n_fft) * torch.fft.rfft(response, n=n_fft)
    return torch.fft.irfft(spectrum, n=n_fft)[..., :length]
