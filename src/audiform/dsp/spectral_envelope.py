"""Smooth envelope of a spectrum, which carries a voice's formants."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

#: Half the distance over which the valleys between partials are filled up.
FILL_HZ = 150.0

#: Quefrency up to which the cepstrum is envelope; weights fall over it.
LIFTER_SECONDS = 0.002

#: Largest change of a bin's gain, natural logarithm of an amplitude (20 dB).
LARGEST_CHANGE = 2.3


def moved_envelope_gain(
    power: Float[Tensor, "frames bins"], *, ratio: float, sample_rate: int
) -> Float[Tensor, "frames bins"]:
    """Return the gain that gives each bin the level which the envelope has at ``ratio`` times it.

    Apply it before a spectrum is moved up by ``ratio`` (by resampling), and the formants stay.
    The envelope is a smooth cepstrum, as in A. Röbel and X. Rodet, "Efficient Spectral Envelope
    Estimation and its Application to Pitch Shifting" (2005). Differs from it in how it comes to
    lie on the partials: by a running maximum before, and not by iteration.
    """
    num_bins = power.shape[-1]
    n_fft = 2 * (num_bins - 1)
    loudest = power.amax(dim=-1, keepdim=True)
    level = 0.5 * (power + 1e-8 * loudest + 1e-20).log()
    reach = round(FILL_HZ * n_fft / sample_rate)
    level = F.max_pool1d(level[:, None], 2 * reach + 1, 1, reach)[:, 0]
    cepstrum = torch.fft.irfft(level, n=n_fft)[..., : n_fft // 2]
    length = round(LIFTER_SECONDS * sample_rate)
    lifter = torch.zeros(n_fft // 2, dtype=power.dtype, device=power.device)
    lifter[: length + 1] = torch.hann_window(2 * length + 1, periodic=False)[length:].to(power)
    lifter[1:] *= 2.0
    envelope = torch.fft.rfft(cepstrum * lifter, n=n_fft).real
    places = (torch.arange(num_bins, device=power.device) * ratio).clamp(max=num_bins - 1.001)
    left = places.long()
    share = (places - left).to(power)
    moved = envelope[..., left] * (1 - share) + envelope[..., left + 1] * share
    return (moved - envelope).clamp(-LARGEST_CHANGE, LARGEST_CHANGE).exp()
