"""What two signals must have in common to be compared."""

from __future__ import annotations

from torch import Tensor

from audiform.errors import AudioError


def require_equal_shapes(estimate: Tensor, reference: Tensor) -> None:
    """Raise :class:`AudioError` unless both have one shape."""
    if estimate.shape != reference.shape:
        raise AudioError(
            f"estimate and reference must have one shape, found {tuple(estimate.shape)} and "
            f"{tuple(reference.shape)}; trim or pad one of them"
        )
