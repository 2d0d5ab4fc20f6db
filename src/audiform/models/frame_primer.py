"""Frame Primer: transformers over frames with Primer's changes and relative positions.

B. Carper, question on pretraining a model of spectrogram frames as BERT is, spring 2022 (the
model page says what of it is his and what was left open). Two forms: a U-Net over frequency
with transformer layers at all five levels, and a stack of layers at full resolution, densely
connected. The layers are those of the evolved transformer (arXiv:1901.11117) with norms before,
squared rectifiers and depthwise convolutions of queries, keys and values (Primer-EZ,
arXiv:2109.08668), and relative positions in both directions (after Music Transformer,
arXiv:1809.04281).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.nn.evolved_transformer import DecoderBranches, EncoderBranches, GatedLinear
from audiform.nn.frame_attention import FrameAttention, FrameAttentionShape
from audiform.nn.frame_convolution import as_frames, as_pictures
from audiform.nn.frame_unet import DenseStack, FrameTrunk, FrameUNet, FrameUNetShape, TrunkFeatures
from audiform.nn.magnitude_masks import MagnitudeMaskConfig, MagnitudeMaskModel, MaskHead
from audiform.nn.unet_checks import check_frame_heads


class FramePrimerConfig(MagnitudeMaskConfig):
    """Hyper-parameters of :class:`FramePrimer`; the defaults are the U-Net of 205 M weights.

    - ``form``: "unet", or "stack" for layers at full resolution alone.
    - ``hidden_channels`` times ``channel_factors``: channels of the levels of the U-Net.
    - ``num_layers``: on each side of a level, or of the stack.
    - ``transformer_bins``: the U-Net's levels of more bins have no transformer layers, which
      makes small networks; None for layers at all levels.
    - ``feed_forward_width``: width of the widest layers, at every level.
    - ``position_reach``: frames that relative positions tell apart; what is further counts as
      that far.
    - ``kernel_frames``: of the convolutions of queries, keys and values; odd.
    - ``attention_scale``: scores are divided by the root of a head's width, or of the frame's.
    - ``recompute``: in training, compute the layers again for the gradients: less memory.
    """

    segment_frames: PositiveInt = 512
    context_frames: int = Field(256, ge=0)
    form: Literal["unet", "stack"] = "unet"
    hidden_channels: PositiveInt = 8
    channel_factors: tuple[PositiveInt, ...] = Field((1, 2, 4, 6, 8), min_length=1)
    num_layers: PositiveInt = 2
    transformer_bins: PositiveInt | None = None
    num_heads: PositiveInt = 8
    feed_forward_width: int = Field(4480, ge=4, multiple_of=4)
    position_reach: PositiveInt = 1023
    kernel_frames: PositiveInt = 3
    attention_scale: Literal["head", "frame"] = "head"
    dropout: float = Field(0.1, ge=0, lt=1)
    recompute: bool = False

    @model_validator(mode="after")
    def _levels_fit(self) -> FramePrimerConfig:
        levels = len(self.channel_factors) if self.form == "unet" else 1
        check_frame_heads(self.num_bins, levels=levels, num_heads=self.num_heads)
        least = self.num_bins >> (levels - 1)
        if self.transformer_bins is not None and (
            self.form == "stack" or self.transformer_bins < least
        ):
            raise ValueError(
                f"transformer_bins = {self.transformer_bins} leaves no level of the {self.form} "
                f"with transformers; take at least {least} in a U-Net, and none in a stack"
            )
        if self.kernel_frames % 2 == 0:
            raise ValueError(
                f"kernel_frames = {self.kernel_frames} must be odd: centred on a frame"
            )
        return self

    @property
    def unet(self) -> FrameUNetShape:
        """Size and kind of the U-Net."""
        return FrameUNetShape(
            audio_channels=self.audio_channels,
            channels=tuple(self.hidden_channels * factor for factor in self.channel_factors),
            num_bins=self.num_bins,
            num_layers=self.num_layers,
            transformer_bins=self.transformer_bins or self.num_bins,
            normed_bottlenecks=False,
            decoder_slope=0.01,
            recompute=self.recompute,
        )

    @property
    def attention(self) -> FrameAttentionShape:
        """What all attentions have in common."""
        return FrameAttentionShape(
            num_heads=self.num_heads,
            reach=self.position_reach,
            kernel_frames=self.kernel_frames,
            scale_by=self.attention_scale,
        )


class SquaredFeedForward(nn.Module):
    """Two linear maps of each frame, between them a rectifier that is squared (Primer)."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden_width)
        self.contract = nn.Linear(hidden_width, width)

    def forward(self, frames: Float[Tensor, "batch frame width"]) -> Tensor:
        """Transform each frame by itself."""
        hidden = F.relu_(self.expand(frames))
        hidden = hidden.square() if torch.is_grad_enabled() else hidden.square_()
        return self.contract(hidden)


class EncoderLayer(nn.Module):
    """Gated linear unit, two branches of convolutions, attention, feed-forward; norms before."""

    def __init__(self, width: int, config: FramePrimerConfig) -> None:
        super().__init__()
        hidden = config.feed_forward_width
        self.gate = GatedLinear(width)
        self.branches = EncoderBranches(width, wide=hidden, narrow=min(width, hidden))
        self.attention = FrameAttention(width, config.attention)
        self.feed_forward = SquaredFeedForward(width, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, frames: Float[Tensor, "batch frame width"]) -> Tensor:
        """Transform ``frames``."""
        parts = (self.gate, self.branches, self.attention, self.feed_forward)
        for part, norm in zip(parts, self.norms, strict=True):
            frames = frames + self.dropout(part(norm(frames)))
        return frames


class DecoderLayer(nn.Module):
    """Attention to itself and to the memory together, branches of convolutions, attention to
    itself, to the memory, feed-forward; norms before, also of the memory.
    """

    def __init__(self, width: int, config: FramePrimerConfig) -> None:
        super().__init__()
        hidden = config.feed_forward_width
        self.memory_norm = nn.LayerNorm(width)
        self.first_self, self.second_self = (
            FrameAttention(width, config.attention) for _ in range(2)
        )
        self.first_memory, self.second_memory = (
            FrameAttention(width, config.attention) for _ in range(2)
        )
        self.branches = DecoderBranches(width, wide=hidden // 2, narrow=hidden // 4)
        self.feed_forward = SquaredFeedForward(width, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        frames: Float[Tensor, "batch frame width"],
        memory: Float[Tensor, "batch frame width"],
    ) -> Tensor:
        """Transform ``frames``, looking at ``memory``."""
        memory = self.memory_norm(memory)
        normed = self.norms[0](frames)
        both = self.first_self(normed) + self.first_memory(normed, memory)
        frames = frames + self.dropout(both)
        frames = frames + self.dropout(self.branches(self.norms[1](frames)))
        frames = frames + self.dropout(self.second_self(self.norms[2](frames)))
        frames = frames + self.dropout(self.second_memory(self.norms[3](frames), memory))
        return frames + self.dropout(self.feed_forward(self.norms[4](frames)))


class LayerStack(FrameTrunk):
    """Encoder layers on the magnitudes themselves, densely connected."""

    def __init__(self, config: FramePrimerConfig) -> None:
        channels = config.audio_channels + config.num_layers
        super().__init__(last_channels=channels, deepest_channels=channels)
        self.stack = DenseStack(
            config.audio_channels,
            [EncoderLayer(config.num_bins, config) for _ in range(config.num_layers)],
            normed_bottlenecks=False,
            recompute=config.recompute,
        )

    def forward(self, magnitudes: Float[Tensor, "batch frame bin channel"]) -> TrunkFeatures:
        """Return the magnitudes and a channel from each layer."""
        features = self.stack(magnitudes)
        return TrunkFeatures(last=features, deepest=features)


class FrameNorm(nn.Module):
    """Normalises all channels and bins of a frame together; a gain and a bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)

    def forward(
        self, features: Float[Tensor, "batch frame bin channel"]
    ) -> Float[Tensor, "batch frame bin channel"]:
        """Normalise each frame."""
        return as_frames(self.norm(as_pictures(features)), batch=len(features))


class FramePrimer(MagnitudeMaskModel):
    """Separator on masks of magnitudes; see the module's text."""

    def __init__(self, config: FramePrimerConfig) -> None:
        trunk: FrameTrunk
        if config.form == "stack":
            trunk = LayerStack(config)
        else:
            trunk = FrameUNet(
                config.unet,
                encoder_layer=lambda width: EncoderLayer(width, config),
                decoder_layer=lambda width: DecoderLayer(width, config),
            )
        channels = trunk.last_channels
        head = nn.Sequential(FrameNorm(channels), MaskHead(channels, config))
        super().__init__(config, trunk=trunk, head=head)
