"""Losses between estimated and true stems."""

from __future__ import annotations

from jaxtyping import Complex, Float
from torch import Tensor

#: Added to energy ratios before the root: the derivative at a perfect estimate stays finite.
#: An error 40 dB below the mixture is as good as none.
RATIO_FLOOR = 1e-4

#: Bins quieter than this share of the mixture's mean bin count less than others.
QUIET_BIN = 1e-3


def relative_error(
    *,
    estimate: Complex[Tensor, "batch source channel bin frame"],
    reference: Complex[Tensor, "batch source channel bin frame"],
) -> Float[Tensor, "batch source"]:
    """Return the size of the error against the mixture's: 0 is perfect, 1 as bad as silence is.

    The mean of two views. Over everything: ``sqrt(|estimate - reference|^2 / |mixture|^2)``,
    which is what the SDR sees, bass above all. And the same for each bin of the spectrum,
    averaged over bins, so that every band has a say. The mixture is the sum of the references.

    The logarithm of the ratio (the SDR itself) looks natural and was tried first: it rewards
    silence in absent and quiet stems so much that a network learns to be silent and stays so.
    """
    error = estimate - reference
    errors = (error.real.square() + error.imag.square()).sum(dim=(2, 4))
    mixture = reference.sum(dim=1)
    energies = (mixture.real.square() + mixture.imag.square()).sum(dim=(1, 3))[:, None]
    total = energies.sum(dim=2) + 1e-8
    whole = (errors.sum(dim=2) / total + RATIO_FLOOR).sqrt()
    floor = QUIET_BIN * total[..., None] / energies.shape[-1]
    by_bin = (errors / (energies + floor) + RATIO_FLOOR).sqrt().mean(dim=2)
    return (whole + by_bin) / 2
