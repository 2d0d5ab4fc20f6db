"""Learned gains that start near zero: a residual branch begins as the identity."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerScale(nn.Module):
    """One learned gain per feature (Touvron et al., arXiv:2103.17239).

    ``axis`` is the axis of the features: -1 for (..., features), -2 for (..., features, time).
    """

    def __init__(self, num_features: int, *, initial_gain: float, axis: int = -1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((num_features,), initial_gain))
        self._trailing_axes = -1 - axis

    def forward(self, features: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Scale ``features``."""
        return features * self.gain.reshape(-1, *[1] * self._trailing_axes)
