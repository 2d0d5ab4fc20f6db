"""Losses between estimated and true stems."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

#: Floor of the error against the mixture's energy: -30 dB. Below it nothing is to be gained,
#: and a stem that is absent from the mixture has a finite loss.
ERROR_FLOOR = 1e-3


def spectral_distortion(
    *,
    estimate: Complex[Tensor, "batch source channel bin frame"],
    reference: Complex[Tensor, "batch source channel bin frame"],
    error_floor: float = ERROR_FLOOR,
) -> Float[Tensor, "batch source"]:
    """Return the energy of the error against the mixture's, in dB.

    ``10 log10(|estimate - reference|^2 / |mixture|^2 + error_floor)`` over channels, bins and
    frames, the mixture being the sum of the references. By Parseval the error is that of the
    waveforms (up to the window), so this is minus the SDR plus the stem's level; unlike the
    SDR it is finite and useful for silent stems.
    """
    error = estimate - reference
    error_energy = (error.real.square() + error.imag.square()).sum(dim=(2, 3, 4))
    mixture = reference.sum(dim=1)
    mixture_energy = (mixture.real.square() + mixture.imag.square()).sum(dim=(1, 2, 3))
    return 10.0 * torch.log10(error_energy / (mixture_energy[:, None] + 1e-8) + error_floor)
