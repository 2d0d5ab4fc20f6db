"""How good separated stems are.

``sdr`` is the score of the Music Demixing and Sound Demixing challenges (there also called
"SDR" or "uSDR"): plain signal over error energy of a whole track, Y. Mitsufuji et al., "Music
Demixing Challenge 2021", 2022, equation 1. ``si_sdr`` is J. Le Roux et al., "SDR - half-baked
or well done?", 2019, equation 4, over all channels at once.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.metrics.shapes import require_equal_shapes

#: Added to both energies, as in the challenges' evaluation: silence has a score.
ENERGY_FLOOR = 1e-7


def sdr(
    *,
    estimate: Float[Tensor, "*leading channels time"],
    reference: Float[Tensor, "*leading channels time"],
) -> Float[Tensor, "*leading"]:
    """Return the signal-to-distortion ratio in dB, energies summed over channels and time.

    ``10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7))``. Raises :class:`AudioError` where
    the shapes differ.

    >>> signal = torch.ones(2, 100)
    >>> round(sdr(estimate=0.9 * signal, reference=signal).item(), 3)
    20.0
    """
    require_equal_shapes(estimate, reference)
    signal = reference.double().square().sum(dim=(-2, -1))
    error = (reference.double() - estimate.double()).square().sum(dim=(-2, -1))
    return (10.0 * torch.log10((signal + ENERGY_FLOOR) / (error + ENERGY_FLOOR))).float()


def si_sdr(
    *,
    estimate: Float[Tensor, "*leading channels time"],
    reference: Float[Tensor, "*leading channels time"],
) -> Float[Tensor, "*leading"]:
    """Return the scale-invariant SDR in dB: of the estimate against its part along the reference.

    One scale for all channels; nothing is centred. Raises :class:`AudioError` where the shapes
    differ.
    """
    require_equal_shapes(estimate, reference)
    estimate, reference = estimate.double(), reference.double()
    product = (estimate * reference).sum(dim=(-2, -1), keepdim=True)
    energy = reference.square().sum(dim=(-2, -1), keepdim=True)
    target = product / (energy + ENERGY_FLOOR) * reference
    signal = target.square().sum(dim=(-2, -1))
    error = (estimate - target).square().sum(dim=(-2, -1))
    return (10.0 * torch.log10((signal + ENERGY_FLOOR) / (error + ENERGY_FLOOR))).float()
