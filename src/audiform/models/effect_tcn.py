"""EffectTCN: a few causal convolutions of steeply growing dilation, set by the knobs.

C. Steinmetz and J. Reiss, "Efficient neural networks for real-time modeling of analog dynamic
range compression", 2022, arXiv:2102.06200 ("micro-TCN"): each block convolves, normalises, gains
and shifts its features by what a small network makes of the knobs, and adds its own input. With
:meth:`EffectTCNConfig.published` and two knobs it has their numbers of weights. Differs from it
in knobs from -0.5 to 0.5, and in carrying its past from block to block instead of computing it
again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from audiform.knob import Knob
from audiform.nn.causal_convolution import CausalConvolution
from audiform.nn.streamed_effect import StreamedEffect
from audiform.protocols import EffectSpec, EffectState

#: Widths of the network that the knobs go through.
KNOB_WIDTHS = (16, 32, 32)

#: Published receptive field in ms -> kernel size, dilations.
PUBLISHED = {
    100: (5, (1, 10, 100, 1000)),
    300: (13, (1, 10, 100, 1000)),
    1000: (5, (1, 10, 100, 1000, 10000)),
}


class EffectTCNConfig(BaseModel):
    """Hyper-parameters of :class:`EffectTCN`: one block for each dilation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    knobs: tuple[Knob, ...] = ()
    sample_rate: PositiveInt = 44100
    hidden_channels: PositiveInt = 32
    kernel_size: Annotated[int, Field(ge=2)] = 13
    dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 10, 100, 1000)

    @classmethod
    def published(
        cls, receptive_ms: Literal[100, 300, 1000], *, knobs: tuple[Knob, ...] = ()
    ) -> EffectTCNConfig:
        """Return the configuration of TCN-100, TCN-300 or TCN-1000."""
        kernel_size, dilations = PUBLISHED[receptive_ms]
        return cls(knobs=knobs, kernel_size=kernel_size, dilations=dilations)

    @property
    def receptive_samples(self) -> int:
        """Samples before one that it depends on."""
        return (self.kernel_size - 1) * sum(self.dilations)


class TCNBlock(nn.Module):
    """A causal convolution, normalised, gained and shifted, and the block's input on top."""

    def __init__(
        self, in_channels: int, channels: int, *, kernel_size: int, dilation: int, settings: int
    ) -> None:
        super().__init__()
        self.convolution = CausalConvolution(
            in_channels, channels, kernel_size=kernel_size, dilation=dilation, bias=False
        )
        self.norm = nn.BatchNorm1d(channels, affine=settings == 0)
        self.from_settings = nn.Linear(settings, 2 * channels) if settings else None
        self.prelu = nn.PReLU(channels)
        self.residual = nn.Conv1d(in_channels, channels, 1, groups=in_channels, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch in_channels time"],
        settings: Float[Tensor, "batch setting"] | None,
        past: Float[Tensor, "batch in_channels past"],
    ) -> tuple[Tensor, Tensor]:
        """Return the block's features, and the next past."""
        convolved, past = self.convolution(x, past)
        normed = self.norm(convolved)
        if self.from_settings is not None:
            gain, shift = self.from_settings(settings)[..., None].chunk(2, dim=1)
            normed = torch.addcmul(shift, normed, gain)
        # One weight for each channel: of its own input, or of the only one there is.
        return F.prelu(normed, self.prelu.weight) + x * self.residual.weight[:, 0], past


class EffectTCN(StreamedEffect):
    """Learned effect of a few dilated convolutions; see the module's text."""

    def __init__(self, config: EffectTCNConfig) -> None:
        super().__init__()
        self.config = config
        widths = (len(config.knobs), *KNOB_WIDTHS) if config.knobs else ()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.from_knobs = nn.Sequential(*layers)
        channels = config.hidden_channels
        blocks = [
            TCNBlock(
                channels if index else 1,
                channels,
                kernel_size=config.kernel_size,
                dilation=dilation,
                settings=widths[-1] if widths else 0,
            )
            for index, dilation in enumerate(config.dilations)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.convolutions = [block.convolution for block in blocks]
        self.head = nn.Conv1d(channels, 1, 1)

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        config = self.config
        return EffectSpec(
            sample_rate=config.sample_rate,
            audio_channels=1,
            knobs=config.knobs,
            context_samples=config.receptive_samples,
        )

    def initial_state(self, batch_size: int = 1) -> EffectState:
        """Return the state before the first block: the past of each block's input, zeros."""
        return tuple(one.silent_past(batch_size) for one in self.convolutions)

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        settings = self.from_knobs(knobs) if self.config.knobs else None
        hidden, kept = block, []
        for layer, past in zip(self.blocks, state, strict=True):
            hidden, past = layer(hidden, settings, past)
            kept.append(past)
        return self.head(hidden).tanh(), tuple(kept)
