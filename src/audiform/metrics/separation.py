"""How good separated stems are.

``sdr`` is the score of the Music Demixing and Sound Demixing challenges (there also called
"SDR" or "uSDR"): plain signal over error energy of a whole track, Y. Mitsufuji et al., "Music
Demixing Challenge 2021", 2022, equation 1. ``si_sdr`` is J. Le Roux et al., "SDR - half-baked
or well done?", 2019, equation 4, over all channels at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from audiform.metrics.shapes import require_equal_shapes

#: Added to both energies, as in the challenges' evaluation: silence has a score.
ENERGY_FLOOR = 1e-7


@dataclass(frozen=True)
class ErrorSums:
    """Sums over channels and time from which SDR and SI-SDR follow; those of blocks add up."""

    signal: Float64[Tensor, "*leading"]
    estimate: Float64[Tensor, "*leading"]
    product: Float64[Tensor, "*leading"]
    error: Float64[Tensor, "*leading"]

    @classmethod
    def of(
        cls,
        *,
        estimate: Float[Tensor, "*leading channels time"],
        reference: Float[Tensor, "*leading channels time"],
    ) -> ErrorSums:
        """Sum up a block; raises :class:`AudioError` where the shapes differ."""
        require_equal_shapes(estimate, reference)
        estimate, reference = estimate.double(), reference.double()

        def total(values: Tensor) -> Tensor:
            return values.sum(dim=(-2, -1))

        return cls(
            signal=total(reference.square()),
            estimate=total(estimate.square()),
            product=total(estimate * reference),
            error=total((reference - estimate).square()),
        )

    def __add__(self, other: ErrorSums) -> ErrorSums:
        """Return the sums of two blocks that follow each other."""
        return ErrorSums(
            signal=self.signal + other.signal,
            estimate=self.estimate + other.estimate,
            product=self.product + other.product,
            error=self.error + other.error,
        )

    def sdr_db(self) -> Float64[Tensor, "*leading"]:
        """Return the SDR, see :func:`sdr`."""
        return _ratio_db(self.signal, self.error)

    def si_sdr_db(self) -> Float64[Tensor, "*leading"]:
        """Return the scale-invariant SDR, see :func:`si_sdr`."""
        scale = self.product / (self.signal + ENERGY_FLOOR)
        target = scale.square() * self.signal
        error = self.estimate - 2 * scale * self.product + target
        # The difference of sums carries their rounding, some 150 dB down.
        return _ratio_db(target, error.clamp(min=0))


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
    return ErrorSums.of(estimate=estimate, reference=reference).sdr_db().float()


def si_sdr(
    *,
    estimate: Float[Tensor, "*leading channels time"],
    reference: Float[Tensor, "*leading channels time"],
) -> Float[Tensor, "*leading"]:
    """Return the scale-invariant SDR in dB: of the estimate against its part along the reference.

    One scale for all channels; nothing is centred. Raises :class:`AudioError` where the shapes
    differ.
    """
    return ErrorSums.of(estimate=estimate, reference=reference).si_sdr_db().float()


def _ratio_db(above: Tensor, below: Tensor) -> Tensor:
    return 10.0 * torch.log10((above + ENERGY_FLOOR) / (below + ENERGY_FLOOR))
