"""Convolutions over the frequencies of each frame by itself.

Features are (batch, frame, bin, channel), contiguous: each frame is a picture one row high
with its channels last, which convolution kernels take as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

#: Neighbouring bins that a kernel sees.
KERNEL_BINS = 3


class FrameConv(nn.Module):
    """A convolution over three bins without bias, batch norm, rectifier.

    ``slope`` is what is left of negative values. ``stride`` 2 halves the bins. In evaluation
    the norm is a part of the kernel.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int = 1, slope: float = 0.0
    ) -> None:
        super().__init__()
        self.stride = stride
        self.slope = slope
        bound = (channels_in * KERNEL_BINS) ** -0.5
        shape = (channels_out, channels_in, 1, KERNEL_BINS)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(
        self, *parts: Float[Tensor, "batch frame bin _channels"]
    ) -> Float[Tensor, "batch frame bin_out channels_out"]:
        """Convolve each frame; the channels of ``parts`` together are ``channels_in``.

        Parts are not laid side by side first: the results of their kernels are summed.
        """
        if self.training:
            mixed = self.norm(self._convolve(parts, self.weight, None))
        else:
            mixed = self._convolve(parts, *self._folded())
        mixed = F.leaky_relu_(mixed, self.slope) if self.slope else F.relu_(mixed)
        return as_frames(mixed, batch=len(parts[0]))

    def _convolve(self, parts: Sequence[Tensor], weight: Tensor, bias: Tensor | None) -> Tensor:
        weights = weight.split([part.shape[-1] for part in parts], dim=1)
        mixed: Tensor | None = None
        for part, kernel in zip(parts, weights, strict=True):
            more = F.conv2d(
                as_pictures(part),
                kernel,
                bias if mixed is None else None,
                stride=(1, self.stride),
                padding=(0, 1),
            )
            mixed = more if mixed is None else mixed.add_(more)
        assert mixed is not None
        return mixed

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Return kernel and bias that do what convolution and norm do in evaluation."""
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return self.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain


class FrameEncoder(nn.Module):
    """Two convolutions, of which the second halves the bins."""

    def __init__(self, channels_in: int, channels_out: int, *, slope: float) -> None:
        super().__init__()
        self.first = FrameConv(channels_in, channels_out, slope=slope)
        self.second = FrameConv(channels_out, channels_out, stride=2, slope=slope)

    def forward(
        self, features: Float[Tensor, "batch frame bin channels_in"]
    ) -> Float[Tensor, "batch frame bin_out channels_out"]:
        """Go one level down."""
        return self.second(self.first(features))


class FrameDecoder(nn.Module):
    """Linear interpolation to twice the bins, one convolution of that and the skip."""

    def __init__(
        self, channels_in: int, channels_skip: int, channels_out: int, *, slope: float
    ) -> None:
        super().__init__()
        self.convolution = FrameConv(channels_in + channels_skip, channels_out, slope=slope)

    def forward(
        self,
        features: Float[Tensor, "batch frame bin channels_in"],
        skip: Float[Tensor, "batch frame bin_out channels_skip"],
    ) -> Float[Tensor, "batch frame bin_out channels_out"]:
        """Go one level up, to the bins of ``skip``."""
        size = (1, skip.shape[2])
        wide = F.interpolate(as_pictures(features), size, mode="bilinear", align_corners=True)
        return self.convolution(as_frames(wide, batch=len(skip)), skip)


def as_pictures(
    features: Float[Tensor, "batch frame bin channel"],
) -> Float[Tensor, "pictures channel 1 bin"]:
    """View each frame as a picture of one row, channels last in memory."""
    return features.flatten(0, 1).transpose(1, 2).unsqueeze(2)


def as_frames(
    pictures: Float[Tensor, "pictures channel 1 bin"], *, batch: int
) -> Float[Tensor, "batch frame bin channel"]:
    """Take :func:`as_pictures` back."""
    return pictures.squeeze(2).transpose(1, 2).unflatten(0, (batch, -1))
