"""EffectRNN: one recurrent network over samples, as amplifier plug-ins run it.

The dry sample and the knobs go into an LSTM or GRU, its hidden state through a linear layer, and
the dry sample is added. A. Wright, E.-P. Damskägg, L. Juvela and V. Välimäki, "Real-time guitar
amplifier emulation with deep learning", Applied Sciences 10(3), 2020: LSTM-32 has 4,513 weights,
LSTM-40 (of the Proteus and NeuralPi plug-ins) 6,921, without knobs. Differs from it in knobs
from -0.5 to 0.5 and in a rest state, which files of Neural Amp Modeler bring along.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from audiform.knob import Knob
from audiform.nn.streamed_effect import StreamedEffect
from audiform.protocols import EffectSpec, EffectState

#: The recurrent layers that can be had.
Unit = Literal["lstm", "gru"]


class EffectRNNConfig(BaseModel):
    """Hyper-parameters of :class:`EffectRNN`.

    - ``unit``, ``hidden_channels``, ``num_layers``: of the recurrent network.
    - ``skip``: whether the dry sample is added to what comes out.
    - ``look_back_seconds``: how much dry audio a training example begins with, to warm up on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    knobs: tuple[Knob, ...] = ()
    sample_rate: PositiveInt = 44100
    unit: Unit = "lstm"
    hidden_channels: PositiveInt = 32
    num_layers: PositiveInt = 1
    skip: bool = True
    look_back_seconds: Annotated[float, Field(gt=0, le=60)] = 0.1


class EffectRNN(StreamedEffect):
    """Learned effect with the memory of a recurrent network; see the module's text."""

    rest: Tensor

    def __init__(self, config: EffectRNNConfig) -> None:
        super().__init__()
        self.config = config
        width, layers = config.hidden_channels, config.num_layers
        kind = nn.LSTM if config.unit == "lstm" else nn.GRU
        self.recurrent = kind(1 + len(config.knobs), width, layers, batch_first=True)
        self.head = nn.Linear(width, 1)
        # What it begins with: hidden values, and for an LSTM cells.
        tensors = 2 if config.unit == "lstm" else 1
        self.register_buffer("rest", torch.zeros(tensors, layers, width))

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        config = self.config
        return EffectSpec(
            sample_rate=config.sample_rate,
            audio_channels=1,
            knobs=config.knobs,
            context_samples=math.ceil(config.look_back_seconds * config.sample_rate),
        )

    def initial_state(self, batch_size: int = 1) -> EffectState:
        """Return the rest state: hidden values, and for an LSTM cells, (batch, layer, channel)."""
        return tuple(part.expand(batch_size, -1, -1).clone() for part in self.rest)

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        inputs = torch.cat([block, knobs[..., None].expand(-1, -1, block.shape[-1])], dim=1)
        before = tuple(part.transpose(0, 1).contiguous() for part in state)
        hidden, after = self.recurrent(
            inputs.transpose(1, 2), before if self.config.unit == "lstm" else before[0]
        )
        wet = self.head(hidden).transpose(1, 2)
        parts = after if isinstance(after, tuple) else (after,)
        kept = tuple(part.transpose(0, 1) for part in parts)
        return (wet + block if self.config.skip else wet), kept

    def predict(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 wet_time"]:
        """Return what all of ``dry`` but its look-back becomes.

        The look-back warms the state up without gradients, as published training does.
        """
        look_back, rest = dry.tensor_split([self.spec.context_samples], dim=-1)
        with torch.no_grad():
            _, state = self.step(look_back, knobs, self.initial_state(len(dry)))
        return self.run(rest, knobs, state)
