"""U-Net layers over frequency with weights of their own for each band of frequencies.

With equal weights in all bands they are the plain layers: no band has an edge of its own in
the strided convolutions. Only residual branches, norms and gates stay within a band; used by
one of the networks of the ``mdx`` bag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.unet import UNetDecoderLayer, UNetEncoderLayer, UNetLayerShape


class BandedEncoderLayer(nn.Module):
    """One encoder layer for each band; ``edges`` are shares of the bins, rising, below 1."""

    def __init__(
        self, channels_in: int, channels_out: int, shape: UNetLayerShape, *, edges: Sequence[float]
    ) -> None:
        super().__init__()
        self.shape = shape
        self.edges = tuple(edges)
        inner = replace(shape, padded=False)
        self.bands = nn.ModuleList(
            UNetEncoderLayer(channels_in, channels_out, inner) for _ in range(len(edges) + 1)
        )

    def forward(
        self, features: Float[Tensor, "batch channels frequency time"]
    ) -> Float[Tensor, "batch channels_out frequency_out time"]:
        """Go one level down in each band; a band reads across its edge as far as a kernel does."""
        kernel, stride, padding = self.shape.kernel_size, self.shape.stride, self.shape.padding
        bins = features.shape[2]
        padded = F.pad(features, (0, 0, padding, padding))
        starts, stops = [0], []
        for edge in self.edges:  # the last whole kernel that ends about the edge
            reach = round(bins * edge) + padding - starts[-1] * stride
            starts.append(starts[-1] + round((reach - kernel) / stride + 1))
            stops.append((starts[-1] - 1) * stride + kernel)
        stops.append(padded.shape[2])
        return torch.cat(
            [
                band(padded[:, :, start * stride : stop])
                for band, start, stop in zip(self.bands, starts, stops, strict=True)
            ],
            dim=2,
        )


class BandedDecoderLayer(nn.Module):
    """One decoder layer for each band; ``edges`` are shares of the bins, rising, below 1."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        shape: UNetLayerShape,
        *,
        edges: Sequence[float],
        outermost: bool,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.edges = tuple(edges)
        self.outermost = outermost
        inner = replace(shape, padded=False, gate_over_time_only=True)
        self.bands = nn.ModuleList(
            UNetDecoderLayer(channels_in, channels_out, inner, outermost=True)
            for _ in range(len(edges) + 1)
        )

    def forward(
        self,
        features: Float[Tensor, "batch channels frequency time"],
        skip: Float[Tensor, "batch channels frequency time"],
        length: int,
    ) -> Float[Tensor, "batch channels_out {length} time"]:
        """Go one level up to ``length`` bins; what two bands write at their border is summed.

        The border has the bias of the lower band alone.
        """
        kernel, stride = self.shape.kernel_size, self.shape.stride
        bins = features.shape[2]
        borders = [0, *(round(bins * edge) for edge in self.edges), bins]
        features = features + skip
        shared = kernel - stride
        pieces: list[Tensor] = []
        for index, band in enumerate(self.bands):
            assert isinstance(band, UNetDecoderLayer)
            start, stop = borders[index], borders[index + 1]
            wide = (stop - start - 1) * stride + kernel
            piece = band.upsample(band.mix(features[:, :, start:stop]), wide)
            if pieces:
                bias = band.convolution.bias.view(1, -1, 1, 1)  # type: ignore[operator]
                border = pieces[-1][:, :, -shared:] + piece[:, :, :shared] - bias
                pieces[-1] = torch.cat([pieces[-1][:, :, :-shared], border], dim=2)
                piece = piece[:, :, shared:]
            pieces.append(piece)
        whole = torch.cat(pieces, dim=2).narrow(2, self.shape.padding, length)
        return whole if self.outermost else self.shape.activation(whole)
