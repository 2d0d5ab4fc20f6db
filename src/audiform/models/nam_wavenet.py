"""NamWaveNet: the WaveNet of Neural Amp Modeler, as its ``.nam`` files have it.

Stacks of dilated causal convolutions. Each layer convolves, adds the condition (the dry sample,
and here the knobs) mixed into its channels, and sends the result through an activation or a
gate; the sum of all results of a stack is its head, from which the next stack's begins. The last
head, scaled, is the wet sample. A. van den Oord et al., "WaveNet", 2016, arXiv:1609.03499; the
shapes are those of S. Atkinson's Neural Amp Modeler (MIT), versions 1 and 2 of its architecture.
Differs from its files in leaving out what they compute and drop: the last layer's way to a next
one; and in knobs, of which those files have none.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.knob import Knob
from audiform.nn.causal_convolution import CausalConvolution
from audiform.nn.streamed_effect import StreamedEffect
from audiform.protocols import EffectSpec, EffectState

#: Slope of the leaky activation below zero.
LEAK = 0.01

Activation = Literal["tanh", "hardtanh", "relu", "leaky-relu", "sigmoid", "silu"]

#: The published shapes.
Shape = Literal["standard", "lite", "feather", "nano", "a2-full", "a2-lite"]

_TEN = tuple(2**power for power in range(10))
_SEVEN = (1, 3, 7, 17, 41, 101, 239)


class StackConfig(BaseModel):
    """A stack of layers: one for each of ``dilations``, with its own of ``kernel_sizes``.

    ``head_channels`` are those of the sum that leaves the stack, through a convolution of
    ``head_kernel_size`` with or without a bias. ``gated`` layers multiply what the activation
    gives by a sigmoid of as many further channels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: PositiveInt
    head_channels: PositiveInt
    kernel_sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    activation: Activation = "tanh"
    gated: bool = False
    head_kernel_size: PositiveInt = 1
    head_bias: bool = False

    @model_validator(mode="after")
    def _one_kernel_for_each(self) -> StackConfig:
        if len(self.kernel_sizes) != len(self.dilations):
            raise ValueError(
                f"{len(self.kernel_sizes)} kernel_sizes for {len(self.dilations)} dilations: "
                "give one for each"
            )
        return self

    @property
    def receptive_samples(self) -> int:
        """Samples before one that it depends on."""
        layers = zip(self.kernel_sizes, self.dilations, strict=True)
        return sum((kernel - 1) * dilation for kernel, dilation in layers) + (
            self.head_kernel_size - 1
        )


def _first_version(channels: int, *, short: bool) -> tuple[StackConfig, ...]:
    """Return the two stacks of version 1; ``short`` is what all but the standard shape have."""
    first, second = (_TEN[:7], _TEN[7:] + _TEN) if short else (_TEN, _TEN)
    half = channels // 2
    return (
        StackConfig(
            channels=channels,
            head_channels=half,
            kernel_sizes=(3,) * len(first),
            dilations=first,
        ),
        StackConfig(
            channels=half,
            head_channels=1,
            kernel_sizes=(3,) * len(second),
            dilations=second,
            head_bias=True,
        ),
    )


def _second_version(channels: int) -> tuple[StackConfig, ...]:
    return (
        StackConfig(
            channels=channels,
            head_channels=1,
            kernel_sizes=(6,) * 14 + (15,) * 2 + (6,) * 7,
            dilations=_SEVEN + _SEVEN + (1, 13) + _SEVEN,
            activation="leaky-relu",
            head_kernel_size=16,
            head_bias=True,
        ),
    )


#: Published shape -> stacks, and what the last head is multiplied by.
SHAPES: dict[Shape, tuple[tuple[StackConfig, ...], float]] = {
    "standard": (_first_version(16, short=False), 0.02),
    "lite": (_first_version(12, short=True), 0.02),
    "feather": (_first_version(8, short=True), 0.02),
    "nano": (_first_version(4, short=True), 0.02),
    "a2-full": (_second_version(8), 0.01),
    "a2-lite": (_second_version(3), 0.01),
}


class NamWaveNetConfig(BaseModel):
    """Hyper-parameters of :class:`NamWaveNet`; :meth:`published` has those that are in use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    knobs: tuple[Knob, ...] = ()
    sample_rate: PositiveInt = 48000
    stacks: Annotated[tuple[StackConfig, ...], Field(min_length=1)] = SHAPES["standard"][0]
    head_scale: float = SHAPES["standard"][1]

    @classmethod
    def published(
        cls, shape: Shape, *, knobs: tuple[Knob, ...] = (), sample_rate: int = 48000
    ) -> NamWaveNetConfig:
        """Return the configuration of a shape of Neural Amp Modeler's."""
        stacks, head_scale = SHAPES[shape]
        return cls(knobs=knobs, sample_rate=sample_rate, stacks=stacks, head_scale=head_scale)

    @model_validator(mode="after")
    def _stacks_fit(self) -> NamWaveNetConfig:
        for before, after in pairwise(self.stacks):
            if before.head_channels != after.channels:
                raise ValueError(
                    f"a stack's head has {before.head_channels} channels and the next stack "
                    f"{after.channels}: they are added, so give both the same number"
                )
        if self.stacks[-1].head_channels != 1:
            raise ValueError(
                f"the last head has {self.stacks[-1].head_channels} channels: wet audio has 1"
            )
        return self

    @property
    def receptive_samples(self) -> int:
        """Samples before one that it depends on."""
        return sum(stack.receptive_samples for stack in self.stacks)


class WaveNetLayer(nn.Module):
    """A convolution, the condition added, an activation, and what it adds to the features."""

    def __init__(self, config: StackConfig, *, index: int, goes_on: bool) -> None:
        super().__init__()
        self.activation = config.activation
        self.gated = config.gated
        self.convolution = CausalConvolution(
            config.channels,
            config.channels * (2 if config.gated else 1),
            kernel_size=config.kernel_sizes[index],
            dilation=config.dilations[index],
        )
        self.output = nn.Conv1d(config.channels, config.channels, 1) if goes_on else None

    def forward(
        self,
        hidden: Float[Tensor, "batch channels time"],
        condition: Float[Tensor, "batch mixed time"],
        past: Float[Tensor, "batch channels past"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next layer's features, this one's part of the head, and the next past."""
        convolved, past = self.convolution(hidden, past)
        mixed = convolved + condition
        if self.gated:
            value, gate = mixed.chunk(2, dim=1)
            passed = activate(value, self.activation) * gate.sigmoid()
        else:
            passed = activate(mixed, self.activation)
        return hidden if self.output is None else hidden + self.output(passed), passed, past


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Return ``x`` through an activation."""
    match activation:
        case "tanh":
            return x.tanh()
        case "hardtanh":
            return F.hardtanh(x)
        case "relu":
            return x.relu()
        case "leaky-relu":
            return F.leaky_relu(x, LEAK)
        case "sigmoid":
            return x.sigmoid()
        case "silu":
            return F.silu(x)


class WaveNetStack(nn.Module):
    """Layers of one width, and the sum of what they let through."""

    def __init__(
        self, config: StackConfig, *, in_channels: int, condition_channels: int, goes_on: bool
    ) -> None:
        super().__init__()
        count = len(config.dilations)
        self.input = nn.Conv1d(in_channels, config.channels, 1, bias=False)
        # The condition for all layers at once, one after the other.
        mixed = count * config.channels * (2 if config.gated else 1)
        self.condition = nn.Conv1d(condition_channels, mixed, 1, bias=False)
        layers = [
            WaveNetLayer(config, index=index, goes_on=goes_on or index + 1 < count)
            for index in range(count)
        ]
        self.layers = nn.ModuleList(layers)
        self.head = CausalConvolution(
            config.channels,
            config.head_channels,
            kernel_size=config.head_kernel_size,
            bias=config.head_bias,
        )
        #: What has a past: the layers', and the head's.
        self.convolutions = [*(layer.convolution for layer in layers), self.head]

    def forward(
        self, hidden: Tensor, condition: Tensor, head: Tensor | None, pasts: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return features, head and next pasts; ``head`` is the stack's before, or None."""
        hidden = self.input(hidden)
        conditions = self.condition(condition).chunk(len(self.layers), dim=1)
        kept = []
        *of_layers, of_head = pasts
        for layer, own, past in zip(self.layers, conditions, of_layers, strict=True):
            hidden, passed, past = layer(hidden, own, past)
            head = passed if head is None else head + passed
            kept.append(past)
        assert head is not None
        out, of_head = self.head(head, of_head)
        return hidden, out, [*kept, of_head]


class NamWaveNet(StreamedEffect):
    """Learned effect of Neural Amp Modeler's shape; see the module's text."""

    def __init__(self, config: NamWaveNetConfig) -> None:
        super().__init__()
        self.config = config
        before = (1, *(stack.channels for stack in config.stacks))
        stacks = [
            WaveNetStack(
                stack,
                in_channels=before[index],
                condition_channels=1 + len(config.knobs),
                goes_on=index + 1 < len(config.stacks),
            )
            for index, stack in enumerate(config.stacks)
        ]
        self.stacks = nn.ModuleList(stacks)
        self.convolutions = [one for stack in stacks for one in stack.convolutions]
        self.pasts = [len(stack.convolutions) for stack in stacks]

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
        """Return the state before the first block: the past of each convolution, zeros."""
        return tuple(one.silent_past(batch_size) for one in self.convolutions)

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        turned = knobs[..., None].expand(-1, -1, block.shape[-1])
        condition = torch.cat([block, turned], dim=1)
        hidden, head, kept = block, None, []
        for stack, count in zip(self.stacks, self.pasts, strict=True):
            own, state = state[:count], state[count:]
            hidden, head, after = stack(hidden, condition, head, own)
            kept += after
        assert head is not None
        return self.config.head_scale * head, tuple(kept)
