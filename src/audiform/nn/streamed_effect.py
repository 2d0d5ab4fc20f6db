"""Effects that go on from a state: one pass is the same steps, one after the other."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiform.protocols import EffectSpec, EffectState

#: Samples that one pass works on at a time, so that memory does not grow with the length.
PASS_SAMPLES = 2**16


class StreamedEffect(nn.Module):
    """What networks with a state have in common; they define the three below."""

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        raise NotImplementedError

    def initial_state(self, batch_size: int = 1) -> EffectState:
        """Return the state before the first block."""
        raise NotImplementedError

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        raise NotImplementedError

    def forward(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 time"]:
        """Return what ``dry`` becomes, at its length; before it lies silence."""
        return self.run(dry, knobs, self.initial_state(len(dry)))

    def run(
        self,
        dry: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> Float[Tensor, "batch 1 time"]:
        """Return what ``dry`` becomes after ``state``."""
        parts = []
        for block in dry.split(PASS_SAMPLES, dim=-1):
            wet, state = self.step(block, knobs, state)
            parts.append(wet)
        return torch.cat(parts, dim=-1)

    def predict(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 wet_time"]:
        """Return what all of ``dry`` but its look-back becomes."""
        return self(dry, knobs)[..., self.spec.context_samples :]
