"""Parts of the evolved transformer that are not attention.

D. R. So, C. Liang, Q. V. Le, "The Evolved Transformer", arXiv:1901.11117, figure 3: gated linear
units, and two branches of convolutions of different widths that are summed. Here they run
along time over frames whose features are frequencies.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.time_convolution import SeparableTimeConvolution, TimeConvolution


class GatedLinear(nn.Module):
    """A linear map of each frame times the sigmoid of another one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.both = nn.Linear(width, 2 * width)

    def forward(self, frames: Float[Tensor, "batch frame width"]) -> Tensor:
        """Return the gated map of ``frames``."""
        return F.glu(self.both(frames), dim=-1)


class EncoderBranches(nn.Module):
    """The encoder's convolutions.

    ``wide`` features from the frame itself and ``narrow`` ones from it and its two neighbours
    are rectified and summed where both are; then a norm and a separable convolution over
    nine frames back to ``width``.
    """

    def __init__(self, width: int, *, wide: int, narrow: int) -> None:
        super().__init__()
        self.alone = nn.Linear(width, wide)
        self.near = TimeConvolution(width, narrow, kernel_frames=3)
        self.norm = nn.LayerNorm(wide)
        self.back = SeparableTimeConvolution(wide, width, kernel_frames=9)

    def forward(self, frames: Float[Tensor, "batch frame width"]) -> Tensor:
        """Return the convolved frames."""
        wide, narrow = F.relu_(self.alone(frames)), F.relu_(self.near(frames))
        return self.back(self.norm(add_to_first(wide, narrow)))


class DecoderBranches(nn.Module):
    """The decoder's convolutions.

    ``wide`` rectified features from eleven frames and ``narrow`` ones from seven, summed where
    both are; then a norm and a separable convolution over seven frames back to ``width``.
    """

    def __init__(self, width: int, *, wide: int, narrow: int) -> None:
        super().__init__()
        self.far = SeparableTimeConvolution(width, wide, kernel_frames=11)
        self.near = SeparableTimeConvolution(width, narrow, kernel_frames=7)
        self.norm = nn.LayerNorm(wide)
        self.back = SeparableTimeConvolution(wide, width, kernel_frames=7)

    def forward(self, frames: Float[Tensor, "batch frame width"]) -> Tensor:
        """Return the convolved frames."""
        wide, narrow = F.relu_(self.far(frames)), self.near(frames)
        return self.back(self.norm(add_to_first(wide, narrow)))


def add_to_first(
    wide: Float[Tensor, "batch frame wide"], narrow: Float[Tensor, "batch frame narrow"]
) -> Float[Tensor, "batch frame wide"]:
    """Return ``wide`` with ``narrow`` added to its first features.

    Without gradients ``wide`` itself is changed, which saves two passes over it.
    """
    count = narrow.shape[-1]
    if torch.is_grad_enabled():
        return torch.cat([wide[..., :count] + narrow, wide[..., count:]], dim=-1)
    wide[..., :count] += narrow
    return wide
