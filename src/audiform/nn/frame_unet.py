"""A U-Net over frequency alone, with transformers over the frames at its levels.

Convolutions see the bins of one frame and halve their number from level to level; the number
of frames stays. At each level the channels are squeezed into one, whose bins are the features
of a frame for a transformer layer; what comes out is one more channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from audiform.nn.frame_convolution import FrameConv, FrameDecoder, FrameEncoder

#: Makes a transformer layer for frames of so many features.
LayerOfWidth = Callable[[int], nn.Module]


class Bottleneck(nn.Module):
    """All channels of each bin into one, by a weighted sum.

    With ``normed`` batch norm and a rectifier follow. A norm of any kind behind it would take
    a ``bias`` out again.
    """

    def __init__(self, channels: int, *, normed: bool, bias: bool) -> None:
        super().__init__()
        bound = channels**-0.5
        self.weight = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(1)) if bias else None
        self.norm = nn.BatchNorm1d(1) if normed else None

    def forward(
        self,
        features: Float[Tensor, "batch frame bin channel"],
        more: Sequence[Float[Tensor, "batch frame bin"]] = (),
    ) -> Float[Tensor, "batch frame bin"]:
        """Squeeze ``features``, the single channels ``more`` behind them counted in."""
        count = features.shape[-1]
        frames = torch.matmul(features, self.weight[:count])
        for index, channel in enumerate(more):
            frames = frames + self.weight[count + index].to(frames.dtype) * channel
        if self.bias is not None:
            frames = frames + self.bias.to(frames.dtype)
        if self.norm is not None:
            frames = F.relu_(self.norm(frames.flatten(1)[:, None]).view_as(frames))
        return frames


class DenseStack(nn.Module):
    """Transformer layers on the channels of one level, densely connected.

    Each layer has a bottleneck of its own, which sees the level's channels and what all layers
    before it gave; each adds one channel. With ``memory_channels`` the layers also look at a
    memory, through a second bottleneck each. ``recompute`` forgets what is inside the layers
    in training and computes it again for the gradients: less memory, more time.
    """

    def __init__(
        self,
        channels: int,
        layers: Sequence[nn.Module],
        *,
        normed_bottlenecks: bool,
        memory_channels: int | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.layers = nn.ModuleList(layers)
        self.bottlenecks = nn.ModuleList(
            Bottleneck(channels + index, normed=normed_bottlenecks, bias=not normed_bottlenecks)
            for index in range(len(layers))
        )
        self.memory_bottlenecks = nn.ModuleList(
            Bottleneck(memory_channels, normed=normed_bottlenecks, bias=False)
            for _ in layers
            if memory_channels is not None
        )

    def forward(
        self,
        features: Float[Tensor, "batch frame bin channels"],
        memory: Float[Tensor, "batch frame bin memory_channels"] | None = None,
    ) -> Float[Tensor, "batch frame bin channels_out"]:
        """Return ``features`` and a channel from each layer behind them."""
        if not self.layers:
            return features
        added: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            inputs = [self.bottlenecks[index](features, added)]
            if memory is not None:
                inputs.append(self.memory_bottlenecks[index](memory))
            if self.recompute and torch.is_grad_enabled():
                added.append(checkpoint(layer, *inputs, use_reentrant=False))
            else:
                added.append(layer(*inputs))
        columns = [channel[..., None].to(features.dtype) for channel in added]
        return torch.cat([features, *columns], dim=-1)


@dataclass(frozen=True)
class FrameUNetShape:
    """Size and kind of a :class:`FrameUNet`.

    ``channels`` are those of each level's convolutions, the outermost first, ``num_bins`` its
    bins; each further level has half as many. ``num_layers`` transformer layers are
    on each side of the levels that have at most ``transformer_bins``.
    ``decoder_slope`` is that of the rectifiers on the way up.
    """

    audio_channels: int
    channels: tuple[int, ...]
    num_bins: int
    num_layers: int
    transformer_bins: int
    normed_bottlenecks: bool
    decoder_slope: float
    recompute: bool = False

    def layers_at(self, level: int) -> int:
        """Number of transformer layers on each side of a level."""
        return self.num_layers if self.num_bins >> level <= self.transformer_bins else 0

    @property
    def skip_channels(self) -> list[int]:
        """Channels of each level on the way down, those of its layers included."""
        return [count + self.layers_at(level) for level, count in enumerate(self.channels)]


#: What is left of negative values on the way down.
ENCODER_SLOPE = 0.01


class TrunkFeatures(NamedTuple):
    """The last features of a network, and its deepest ones."""

    last: Float[Tensor, "batch frame bin channel"]
    deepest: Float[Tensor, "batch frame deep_bin deep_channel"]


class FrameTrunk(nn.Module):
    """A network from magnitudes to :class:`TrunkFeatures`; subclasses have ``forward``."""

    def __init__(self, *, last_channels: int, deepest_channels: int) -> None:
        super().__init__()
        self.last_channels = last_channels
        self.deepest_channels = deepest_channels


class FrameUNet(FrameTrunk):
    """Down the levels with encoder layers, up with decoder layers whose memory is the skip.

    The skip holds what the encoder layers of its level gave. At the deepest level it is also
    what the decoder layers start from.
    """

    def __init__(
        self,
        shape: FrameUNetShape,
        *,
        encoder_layer: LayerOfWidth,
        decoder_layer: LayerOfWidth,
    ) -> None:
        levels = range(len(shape.channels))
        deepest = levels[-1]
        skips = shape.skip_channels
        # what the decoder layers of each level start from, and what they leave
        entering = [*shape.channels[:-1], skips[deepest]]
        decoded = [count + shape.layers_at(level) for level, count in enumerate(entering)]
        super().__init__(last_channels=decoded[0], deepest_channels=skips[deepest])

        def layers(level: int, make: LayerOfWidth) -> list[nn.Module]:
            return [make(shape.num_bins >> level) for _ in range(shape.layers_at(level))]

        self.entry = FrameConv(shape.audio_channels, shape.channels[0])
        self.down = nn.ModuleList(
            FrameEncoder(skip, channels, slope=ENCODER_SLOPE)
            for skip, channels in zip(skips[:-1], shape.channels[1:], strict=True)
        )
        self.encoders = nn.ModuleList(
            DenseStack(
                shape.channels[level],
                layers(level, encoder_layer),
                normed_bottlenecks=shape.normed_bottlenecks,
                recompute=shape.recompute,
            )
            for level in levels
        )
        self.decoders = nn.ModuleList(
            DenseStack(
                entering[level],
                layers(level, decoder_layer),
                normed_bottlenecks=shape.normed_bottlenecks,
                memory_channels=skips[level],
                recompute=shape.recompute,
            )
            for level in levels
        )
        self.up = nn.ModuleList(
            FrameDecoder(decoded[level + 1], skips[level], channels, slope=shape.decoder_slope)
            for level, channels in enumerate(shape.channels[:-1])
        )

    def forward(self, magnitudes: Float[Tensor, "batch frame bin channel"]) -> TrunkFeatures:
        """Return the last features, at the bins of ``magnitudes``, and those of the bottom."""
        features = self.encoders[0](self.entry(magnitudes))
        skips = [features]
        for down, encoders in zip(self.down, self.encoders[1:], strict=True):
            features = encoders(down(features))
            skips.append(features)
        features = self.decoders[-1](features, skips[-1])
        for level in reversed(range(len(self.up))):
            features = self.up[level](features, skips[level])
            features = self.decoders[level](features, skips[level])
        return TrunkFeatures(last=features, deepest=skips[-1])
