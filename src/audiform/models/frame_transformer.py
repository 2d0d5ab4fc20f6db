"""Frame Transformer: a U-Net over frequency whose levels exchange frames by transformers.

B. Carper, description of the vocal remover "frame transformer", March 2022 (the model page
says what of it is his and what was left open). All convolutions of the U-Net are 3x1: they see
one frame. At the four lower levels two encoder layers, and on the way up two decoder layers, of an
evolved transformer (arXiv:1901.11117) treat the bins of a frame as its features. Attention
knows how far frames are apart by a weight of the distance for each head.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.nn.evolved_transformer import DecoderBranches, EncoderBranches, GatedLinear
from audiform.nn.frame_attention import FrameAttention, FrameAttentionShape
from audiform.nn.frame_unet import FrameUNet, FrameUNetShape
from audiform.nn.magnitude_masks import MagnitudeMaskConfig, MagnitudeMaskModel, MaskHead
from audiform.nn.unet_checks import check_frame_heads


class FrameTransformerConfig(MagnitudeMaskConfig):
    """Hyper-parameters of :class:`FrameTransformer`; the defaults are the described network.

    - ``hidden_channels`` times ``channel_factors``: channels of the levels, the outermost
      first, which has no transformer.
    - ``num_layers``: transformer layers on each side of a level.
    - ``feed_forward_width``: half the width of the widest layers, at every level.
    - ``distance_encoding``: a weight per head times the distance of frames; ``position_reach``:
      relative positions up to so many frames as well, None for none.
    - ``attention_scale``: scores are divided by the root of a head's width, or of the frame's.
    - ``recompute``: in training, compute the layers again for the gradients: less memory.
    """

    hidden_channels: PositiveInt = 8
    channel_factors: tuple[PositiveInt, ...] = Field((1, 2, 4, 6, 8), min_length=2)
    num_layers: PositiveInt = 2
    num_heads: PositiveInt = 8
    feed_forward_width: int = Field(2048, ge=2, multiple_of=2)
    distance_encoding: bool = True
    position_reach: PositiveInt | None = None
    attention_scale: Literal["head", "frame"] = "head"
    dropout: float = Field(0.1, ge=0, lt=1)
    recompute: bool = False

    @model_validator(mode="after")
    def _levels_fit(self) -> FrameTransformerConfig:
        levels = len(self.channel_factors)
        check_frame_heads(self.num_bins, levels=levels, num_heads=self.num_heads)
        return self

    @property
    def unet(self) -> FrameUNetShape:
        """Size and kind of the U-Net."""
        return FrameUNetShape(
            audio_channels=self.audio_channels,
            channels=tuple(self.hidden_channels * factor for factor in self.channel_factors),
            num_bins=self.num_bins,
            num_layers=self.num_layers,
            transformer_bins=self.num_bins // 2,
            normed_bottlenecks=True,
            decoder_slope=0.0,
            recompute=self.recompute,
        )

    @property
    def attention(self) -> FrameAttentionShape:
        """What all attentions have in common."""
        return FrameAttentionShape(
            num_heads=self.num_heads,
            distance=self.distance_encoding,
            reach=self.position_reach,
            scale_by=self.attention_scale,
        )


class Residual(nn.Module):
    """Adds what a part of a layer found, then normalises."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        frames: Float[Tensor, "batch frame width"],
        found: Float[Tensor, "batch frame width"],
    ) -> Float[Tensor, "batch frame width"]:
        """Return the norm of the sum."""
        return self.norm(frames + self.dropout(found))


class EncoderLayer(nn.Module):
    """Gated linear unit, two branches of convolutions, attention, feed-forward; norms after."""

    def __init__(self, width: int, config: FrameTransformerConfig) -> None:
        super().__init__()
        half = config.feed_forward_width
        self.gate = GatedLinear(width)
        self.branches = EncoderBranches(width, wide=2 * half, narrow=half // 2)
        self.attention = FrameAttention(width, config.attention)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * half), nn.ReLU(inplace=True), nn.Linear(2 * half, width)
        )
        self.residuals = nn.ModuleList(Residual(width, config.dropout) for _ in range(4))

    def forward(self, frames: Float[Tensor, "batch frame width"]) -> Tensor:
        """Transform ``frames``."""
        parts = (self.gate, self.branches, self.attention, self.feed_forward)
        for part, residual in zip(parts, self.residuals, strict=True):
            frames = residual(frames, part(frames))
        return frames


class DecoderLayer(nn.Module):
    """Attention to itself and to the memory together, branches of convolutions, attention to
    itself, to the memory, feed-forward; norms after.
    """

    def __init__(self, width: int, config: FrameTransformerConfig) -> None:
        super().__init__()
        half = config.feed_forward_width
        self.first_self, self.second_self = (
            FrameAttention(width, config.attention) for _ in range(2)
        )
        self.first_memory, self.second_memory = (
            FrameAttention(width, config.attention) for _ in range(2)
        )
        self.branches = DecoderBranches(width, wide=2 * half, narrow=half // 2)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * half), nn.SiLU(inplace=True), nn.Linear(2 * half, width)
        )
        self.residuals = nn.ModuleList(Residual(width, config.dropout) for _ in range(5))

    def forward(
        self,
        frames: Float[Tensor, "batch frame width"],
        memory: Float[Tensor, "batch frame width"],
    ) -> Tensor:
        """Transform ``frames``, looking at ``memory``."""
        add = self.residuals
        frames = add[0](frames, self.first_self(frames) + self.first_memory(frames, memory))
        frames = add[1](frames, self.branches(frames))
        frames = add[2](frames, self.second_self(frames))
        frames = add[3](frames, self.second_memory(frames, memory))
        return add[4](frames, self.feed_forward(frames))


class FrameTransformer(MagnitudeMaskModel):
    """Separator on masks of magnitudes; see the module's text."""

    def __init__(self, config: FrameTransformerConfig) -> None:
        trunk = FrameUNet(
            config.unet,
            encoder_layer=lambda width: EncoderLayer(width, config),
            decoder_layer=lambda width: DecoderLayer(width, config),
        )
        super().__init__(config, trunk=trunk, head=MaskHead(trunk.last_channels, config))
