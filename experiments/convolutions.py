"""Convolutions that join frames, in the place of those of a frame U-Net that do not.

What the texts say a frame U-Net should not have; so it is here and no option of the networks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.models.frame_primer import FramePrimer
from audiform.models.frame_transformer import FrameTransformer
from audiform.nn.frame_convolution import FrameConv, FrameDecoder, FrameEncoder
from audiform.nn.frame_unet import FrameUNet


class PlaneConv(nn.Module):
    """A convolution over 3 x 3 frames and bins without bias, batch norm, rectifier.

    ``strides`` are those of frames and bins.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, slope: float, strides: tuple[int, int]
    ) -> None:
        super().__init__()
        self.slope = slope
        self.convolution = nn.Conv2d(
            channels_in, channels_out, 3, stride=strides, padding=1, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(
        self, *parts: Float[Tensor, "batch frame bin _channels"]
    ) -> Float[Tensor, "batch frame_out bin_out channels_out"]:
        """Convolve ``parts``, whose channels together are ``channels_in``."""
        plane = torch.cat(parts, dim=-1).permute(0, 3, 1, 2)
        mixed = F.leaky_relu(self.norm(self.convolution(plane)), self.slope)
        return mixed.permute(0, 2, 3, 1).contiguous()


class PlaneEncoder(nn.Module):
    """Two convolutions, of which the second halves the bins, and the frames if told to."""

    def __init__(self, like: FrameEncoder, *, halve_frames: bool) -> None:
        super().__init__()
        self.first = in_planes(like.first)
        self.second = in_planes(like.second, halve_frames=halve_frames)

    def forward(
        self, features: Float[Tensor, "batch frame bin channels_in"]
    ) -> Float[Tensor, "batch frame_out bin_out channels_out"]:
        """Go one level down."""
        return self.second(self.first(features))


class PlaneDecoder(nn.Module):
    """Linear interpolation to the frames and bins of the skip, one convolution of both."""

    def __init__(self, like: FrameDecoder) -> None:
        super().__init__()
        self.convolution = in_planes(like.convolution)

    def forward(
        self,
        features: Float[Tensor, "batch frame bin channels_in"],
        skip: Float[Tensor, "batch frame_out bin_out channels_skip"],
    ) -> Float[Tensor, "batch frame_out bin_out channels_out"]:
        """Go one level up."""
        size = skip.shape[1:3]
        plane = features.permute(0, 3, 1, 2)
        wide = F.interpolate(plane, size, mode="bilinear", align_corners=True)
        return self.convolution(wide.permute(0, 2, 3, 1), skip)


def in_planes(convolution: FrameConv, *, halve_frames: bool = False) -> PlaneConv:
    """Return a convolution over frames too, of the same channels as ``convolution``."""
    channels_out, channels_in = convolution.weight.shape[:2]
    return PlaneConv(
        channels_in,
        channels_out,
        slope=convolution.slope,
        strides=(2 if halve_frames else 1, convolution.stride),
    )


def join_frames(network: FrameTransformer | FramePrimer, *, halve_frames: bool) -> None:
    """Give the U-Net of ``network`` 3 x 3 convolutions; with ``halve_frames`` levels halve time."""
    trunk = network.trunk
    assert isinstance(trunk, FrameUNet)
    assert isinstance(trunk.entry, FrameConv)
    trunk.entry = in_planes(trunk.entry)  # type: ignore[assignment]
    down = (PlaneEncoder(level, halve_frames=halve_frames) for level in trunk.down)  # type: ignore[arg-type]
    trunk.down = nn.ModuleList(down)
    trunk.up = nn.ModuleList(PlaneDecoder(level) for level in trunk.up)  # type: ignore[arg-type]
