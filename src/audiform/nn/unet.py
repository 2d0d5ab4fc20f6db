"""Encoder and decoder layers of the Demucs family's U-Nets, over frequency or over time.

Demucs, arXiv:1911.13254, section 3, and Hybrid Demucs, arXiv:2111.03600, section 3. The
spectrum's layers convolve along frequency alone, with (kernel, 1) kernels; the waveform's
along time. Both are one class each, told apart by ``over_frequency``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.residual_branch import ResidualBranches, can_fold
from audiform.nn.row_stretches import is_large, stretches, take_rows
from audiform.nn.transposed_convolution import raise_level


@dataclass(frozen=True)
class UNetLayerShape:
    """What the layers of one level of a U-Net have in common.

    ``context`` neighbours on either side are seen by the gated convolution, along time alone
    with ``gate_over_time_only``. ``norm_groups`` is the number of groups of its group norms,
    None for no norms. ``branch_depth`` residual branches follow it, 0 for none; they have an
    LSTM with ``branch_lstm`` and local attention with ``branch_attention``. A layer that is
    ``padded`` has lengths that ``stride`` divides exactly. The activation is GELU, or else ReLU.
    """

    over_frequency: bool
    kernel_size: int
    stride: int
    context: int
    norm_groups: int | None
    branch_depth: int
    branch_compression: float
    branch_initial_gain: float
    branch_lstm: bool = False
    branch_attention: bool = False
    padded: bool = True
    gate_over_time_only: bool = False
    gelu: bool = True

    @property
    def padding(self) -> int:
        """Padding at each end."""
        return self.kernel_size // 4 if self.padded else 0

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        """The activation after each strided convolution."""
        return F.gelu if self.gelu else F.relu

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
        width = 2 * self.context + 1
        if self.over_frequency and self.gate_over_time_only:
            return nn.Conv2d(channels, 2 * channels, (1, width), padding=(0, self.context))
        klass = nn.Conv2d if self.over_frequency else nn.Conv1d
        return klass(channels, 2 * channels, width, padding=self.context)

    def goes_in_stretches(self, features: Float[Tensor, "batch channels ..."]) -> bool:
        """Tell whether a layer does better some frequencies at a time, and can."""
        can = self.over_frequency and self.norm_groups is None and can_fold(features)
        return can and self.kernel_size == 2 * self.stride and is_large(features)

    def branches(self, channels: int) -> nn.Module:
        """Return the residual branches along time."""
        if self.branch_depth == 0:
            return nn.Identity()
        return ResidualBranches(
            channels,
            compression=self.branch_compression,
            depth=self.branch_depth,
            initial_gain=self.branch_initial_gain,
            lstm=self.branch_lstm,
            attention=self.branch_attention,
        )


class UNetDownsampling(nn.Module):
    """The strided convolution of an encoder layer alone, where a branch of a U-Net ends."""

    def __init__(self, channels_in: int, channels_out: int, shape: UNetLayerShape) -> None:
        super().__init__()
        self.shape = shape
        self.convolution = shape.convolution(channels_in, channels_out)

    def forward(self, features: Float[Tensor, "batch channels ..."]) -> Float[Tensor, ...]:
        """Go one level down; a waveform is padded on the right to a multiple of the stride."""
        if self.shape.padded and not self.shape.over_frequency:
            features = F.pad(features, (0, -features.shape[-1] % self.shape.stride))
        return self.convolution(features)


class UNetEncoderLayer(UNetDownsampling):
    """Strided convolution, activation, residual branches along time, gated convolution."""

    def __init__(self, channels_in: int, channels_out: int, shape: UNetLayerShape) -> None:
        super().__init__(channels_in, channels_out, shape)
        self.convolution_norm = shape.norm(channels_out)
        self.branches = shape.branches(channels_out)
        self.gate = shape.gated_convolution(channels_out)
        self.gate_norm = shape.norm(2 * channels_out)

    def forward(
        self,
        features: Float[Tensor, "batch channels ..."],
        injected: Float[Tensor, "batch channels_out ..."] | None = None,
    ) -> Float[Tensor, ...]:
        """Go one level down; ``injected`` is added to what the strided convolution gives."""
        sees_neighbours = self.shape.context and not self.shape.gate_over_time_only
        if injected is None and not sees_neighbours and self.shape.goes_in_stretches(features):
            return self._in_stretches(features)
        features = super().forward(features)
        if injected is not None:
            features = features + injected
        return self._refine(features)

    def _refine(self, features: Float[Tensor, "batch channels ..."]) -> Float[Tensor, ...]:
        """Return the layer's result from that of the strided convolution."""
        features = self.shape.activation(self.convolution_norm(features))
        features = along_time(self.branches, features)
        return F.glu(self.gate_norm(self.gate(features)), dim=1)

    def _in_stretches(
        self, features: Float[Tensor, "batch channels frequency time"]
    ) -> Float[Tensor, "batch channels_out frequency_out time"]:
        """Go one level down, some frequencies at a time."""
        kernel, stride, padding = self.shape.kernel_size, self.shape.stride, self.shape.padding
        down = self.convolution
        assert isinstance(down, nn.Conv2d)
        batch, _, num_rows, time = features.shape
        result = features.new_empty(
            batch, down.out_channels, (num_rows + 2 * padding - kernel) // stride + 1, time
        )
        for first, stop in stretches(result.shape[2], row_size=result[:, :, 0].numel()):
            start = first * stride - padding
            piece = take_rows(features, start, start + (stop - first - 1) * stride + kernel)
            piece = torch.conv2d(piece, down.weight, down.bias, stride=(stride, 1))
            result[:, :, first:stop] = self._refine(piece)
        return result


class UNetDecoderLayer(nn.Module):
    """Sum with the skip, gated convolution with context, residual branches, up one level.

    The ``outermost`` layer ends without its activation.
    """

    def __init__(
        self, channels_in: int, channels_out: int, shape: UNetLayerShape, *, outermost: bool
    ) -> None:
        super().__init__()
        self.shape = shape
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
        if self.shape.goes_in_stretches(features):
            return self._in_stretches(features, skip, length)
        return self.upsample(self.mix(features + skip), length)

    def _in_stretches(
        self,
        features: Float[Tensor, "batch channels frequency time"],
        skip: Float[Tensor, "batch channels frequency time"],
        length: int,
    ) -> Float[Tensor, "batch channels_out {length} time"]:
        """Go one level up to ``length`` bins, some frequencies at a time."""
        batch, channels, num_rows, time = features.shape
        stride, padding = self.shape.stride, self.shape.padding
        context, gate, up = self.shape.context, self.gate, self.convolution
        assert isinstance(gate, nn.Conv2d) and isinstance(up, nn.ConvTranspose2d)
        reach = 0 if self.shape.gate_over_time_only else context
        result = features.new_empty(batch, up.out_channels, length, time)
        before = nothing = features.new_zeros(batch, channels, 1, time)
        for first, stop in stretches(num_rows, row_size=features[:, :, 0].numel()):
            piece = take_rows(features, first - reach, stop + reach)
            piece += take_rows(skip, first - reach, stop + reach)
            piece = torch.conv2d(piece, gate.weight, gate.bias, padding=(0, context))
            mixed = along_time(self.branches, F.glu(piece, dim=1))
            # what goes up between two rows needs both
            rows = [before, mixed, nothing] if stop == num_rows else [before, mixed]
            before = mixed[:, :, -1:].clone()
            raised = raise_level(up, torch.cat(rows, dim=2), beyond=False)
            start = first * stride - padding
            place = slice(max(0, start), min(length, start + raised.shape[2]))
            raised = raised[:, :, place.start - start : place.stop - start]
            result[:, :, place] = raised if self.outermost else self.shape.activation(raised)
        return result

    def mix(self, features: Float[Tensor, "batch channels ..."]) -> Float[Tensor, ...]:
        """Return the features that go up: all of the layer but its last convolution."""
        features = F.glu(self.gate_norm(self.gate(features)), dim=1)
        return along_time(self.branches, features)

    def upsample(
        self, features: Float[Tensor, "batch channels ..."], length: int
    ) -> Float[Tensor, ...]:
        """Take mixed features one level up, to ``length`` bins or samples."""
        features = self.convolution_norm(raise_level(self.convolution, features))
        axis = -2 if self.shape.over_frequency else -1
        features = features.narrow(axis, self.shape.padding, length)
        return features if self.outermost else self.shape.activation(features)


class UNetUpsampling(nn.Module):
    """The last step of a decoder layer alone, where a branch of a U-Net begins."""

    def __init__(self, channels_in: int, channels_out: int, shape: UNetLayerShape) -> None:
        super().__init__()
        self.shape = shape
        self.convolution = shape.transposed_convolution(channels_in, channels_out)
        self.convolution_norm = shape.norm(channels_out)

    def forward(
        self, features: Float[Tensor, "batch channels time"], length: int
    ) -> Float[Tensor, "batch channels_out {length}"]:
        """Go one level up, to ``length`` samples."""
        features = self.convolution_norm(raise_level(self.convolution, features))
        return self.shape.activation(features.narrow(-1, self.shape.padding, length))


def along_time(layer: nn.Module, features: Tensor) -> Tensor:
    """Apply a layer over time to each frequency of (batch, channels, frequency, time) alone.

    Features of (batch, channels, time) go through as they are.
    """
    if features.ndim == 3 or isinstance(layer, nn.Identity):
        return layer(features)
    if isinstance(layer, ResidualBranches) and can_fold(features):
        return layer.on_rows(features)
    batch = features.shape[0]
    rows = rearrange(features, "batch channel frequency time -> (batch frequency) channel time")
    return rearrange(
        layer(rows), "(batch frequency) channel time -> batch channel frequency time", batch=batch
    )


class FrequencyEmbedding(nn.Module):
    """A learned vector for each frequency, smooth along frequency at the start of training.

    Held small and scaled up by ``scale``, which raises its learning rate by as much
    (Hybrid Demucs, section 3.2). It is added to a spectrum ``share`` times.
    """

    def __init__(self, num_frequencies: int, channels: int, *, scale: float, share: float) -> None:
        super().__init__()
        self.scale = scale
        self.share = share
        walk = torch.randn(num_frequencies, channels).cumsum(dim=0)
        steps = torch.arange(1, num_frequencies + 1, dtype=walk.dtype)
        self.weight = nn.Parameter(walk / steps.sqrt()[:, None] / scale)

    def forward(
        self, spectrum: Float[Tensor, "batch channels frequency frames"]
    ) -> Float[Tensor, "batch channels frequency frames"]:
        """Return ``spectrum`` with the embedding added."""
        return spectrum + self.share * (self.weight * self.scale).t()[:, :, None]


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
