"""Encoder and decoder layers of the hybrid U-Nets, over frequency or over time.

Hybrid Demucs, arXiv:2111.03600, section 3. The spectrum's layers convolve along frequency
alone, with (kernel, 1) kernels; the waveform's along time. Both are one class each, told
apart by ``over_frequency``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.residual_branch import ResidualBranches


@dataclass(frozen=True)
class HybridLayerShape:
    """What the layers of one level of a hybrid U-Net have in common.

    ``context`` neighbours on either side are seen by the gated convolution. ``norm_groups``
    is the number of groups of its group norms, None for no norms. ``branch_depth`` residual
    branches follow it, 0 for none.
    """

    over_frequency: bool
    kernel_size: int
    stride: int
    context: int
    norm_groups: int | None
    branch_depth: int
    branch_compression: float
    branch_initial_gain: float

    @property
    def padding(self) -> int:
        """Padding at each end, so that ``stride`` divides the length exactly."""
        return self.kernel_size // 4

    def norm(self, channels: int) -> nn.Module:
        """Return the norm for ``channels`` channels."""
        return nn.Identity() if self.norm_groups is None else nn.GroupNorm(
            self.norm_groups, channels
        )  # fmt: skip

    def convolution(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return the strided convolution that goes a level down."""
        kernel, stride, padding = self.kernel_size, self.stride, self.padding
        if self.over_frequency:
            return nn.Conv2d(channels_in, channels_out, (kernel, 1), (stride, 1), (padding, 0))
        return nn.Conv1d(channels_in, channels_out, kernel, stride, padding)

    def transposed_convolution(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return the convolution that goes a level up; the caller trims ``padding``."""
        if self.over_frequency:
            return nn.ConvTranspose2d(
                channels_in, channels_out, (self.kernel_size, 1), (self.stride, 1)
            )
        return nn.ConvTranspose1d(channels_in, channels_out, self.kernel_size, self.stride)

    def gated_convolution(self, channels: int) -> nn.Module:
        """Return the convolution to twice the channels that feeds a gated linear unit."""
        klass = nn.Conv2d if self.over_frequency else nn.Conv1d
        return klass(channels, 2 * channels, 2 * self.context + 1, padding=self.context)

    def branches(self, channels: int) -> nn.Module:
        """Return the residual branches along time."""
        if self.branch_depth == 0:
            return nn.Identity()
        return ResidualBranches(
            channels,
            compression=self.branch_compression,
            depth=self.branch_depth,
            initial_gain=self.branch_initial_gain,
        )


class HybridEncoderLayer(nn.Module):
    """Strided convolution, GELU, residual branches along time, gated 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int, shape: HybridLayerShape) -> None:
        super().__init__()
        self.over_frequency = shape.over_frequency
        self.stride = shape.stride
        self.convolution = shape.convolution(channels_in, channels_out)
        self.convolution_norm = shape.norm(channels_out)
        self.branches = shape.branches(channels_out)
        self.gate = shape.gated_convolution(channels_out)
        self.gate_norm = shape.norm(2 * channels_out)

    def forward(self, features: Float[Tensor, "batch channels ..."]) -> Float[Tensor, ...]:
        """Go one level down; a waveform is padded on the right to a multiple of the stride."""
        if not self.over_frequency:
            features = F.pad(features, (0, -features.shape[-1] % self.stride))
        features = F.gelu(self.convolution_norm(self.convolution(features)))
        features = along_time(self.branches, features)
        return F.glu(self.gate_norm(self.gate(features)), dim=1)


class HybridDecoderLayer(nn.Module):
    """Sum with the skip, gated convolution with context, residual branches, up one level.

    The ``outermost`` layer ends without its GELU.
    """

    def __init__(
        self, channels_in: int, channels_out: int, shape: HybridLayerShape, *, outermost: bool
    ) -> None:
        super().__init__()
        self.over_frequency = shape.over_frequency
        self.padding = shape.padding
        self.outermost = outermost
        self.gate = shape.gated_convolution(channels_in)
        self.gate_norm = shape.norm(2 * channels_in)
        self.branches = shape.branches(channels_in)
        self.convolution = shape.transposed_convolution(channels_in, channels_out)
        self.convolution_norm = shape.norm(channels_out)

    def forward(
        self,
        features: Float[Tensor, "batch channels ..."],
        skip: Float[Tensor, "batch channels ..."],
        length: int,
    ) -> Float[Tensor, ...]:
        """Go one level up, to ``length`` bins (over frequency) or samples (over time)."""
        features = F.glu(self.gate_norm(self.gate(features + skip)), dim=1)
        features = along_time(self.branches, features)
        features = self.convolution_norm(self.convolution(features))
        axis = -2 if self.over_frequency else -1
        features = features.narrow(axis, self.padding, length)
        return features if self.outermost else F.gelu(features)


def along_time(layer: nn.Module, features: Tensor) -> Tensor:
    """Apply a layer over time to each frequency of (batch, channels, frequency, time) alone.

    Features of (batch, channels, time) go through as they are.
    """
    if features.ndim == 3 or isinstance(layer, nn.Identity):
        return layer(features)
    batch = features.shape[0]
    rows = rearrange(features, "batch channel frequency time -> (batch frequency) channel time")
    return rearrange(
        layer(rows), "(batch frequency) channel time -> batch channel frequency time", batch=batch
    )


class FrequencyEmbedding(nn.Module):
    """A learned vector for each frequency, smooth along frequency at the start of training.

    Held small and scaled up by ``scale``, which raises its learning rate by as much
    (Hybrid Demucs, section 3.2).
    """

    def __init__(self, num_frequencies: int, channels: int, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        walk = torch.randn(num_frequencies, channels).cumsum(dim=0)
        steps = torch.arange(1, num_frequencies + 1, dtype=walk.dtype)
        self.weight = nn.Parameter(walk / steps.sqrt()[:, None] / scale)

    def forward(self) -> Float[Tensor, "channels frequency 1"]:
        """Return the embedding, ready to be added to (batch, channels, frequency, frames)."""
        return (self.weight * self.scale).t()[:, :, None]


@torch.no_grad()
def rescale_initial_weights(module: nn.Module, *, reference: float) -> None:
    """Divide each convolution's weights by ``sqrt(deviation / reference)``, biases too.

    Demucs v1, arXiv:1909.01174, section 4.3.
    """
    kinds = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
    for layer in module.modules():
        if isinstance(layer, kinds):
            factor = (layer.weight.std() / reference).sqrt()
            layer.weight /= factor
            if layer.bias is not None:
                layer.bias /= factor
