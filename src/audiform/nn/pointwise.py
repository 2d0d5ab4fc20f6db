"""Convolutions of width 1, quick on short blocks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.causal_convolution import SHORT_BLOCK


class Pointwise(nn.Conv1d):
    """The same map at every time; short blocks are one matrix product, which starts sooner."""

    bias: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch out_channels time"]:
        """Return the mapped block."""
        if torch.is_grad_enabled() or len(x) > 1 or x.shape[-1] > SHORT_BLOCK:
            return super().forward(x)
        return torch.addmm(self.bias[:, None], self.weight[..., 0], x[0])[None]


class Mixing(nn.Conv1d):
    """The same without a bias: silence stays silence."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)

    def forward(
        self, x: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch out_channels time"]:
        """Return the mixed block."""
        if torch.is_grad_enabled() or len(x) > 1 or x.shape[-1] > SHORT_BLOCK:
            return super().forward(x)
        return (self.weight[..., 0] @ x[0])[None]
