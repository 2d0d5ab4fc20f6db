"""Effects that hear a bounded stretch around each sample, so far before it and so far after.

What is answered depends on that stretch alone: pieces of any length are exactly one pass, and
a state is no more than the sound that is still needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.protocols import EffectSpec, EffectState

#: Blocks that one pass answers at a time, so that memory does not grow with the length.
BLOCKS_AT_A_TIME = 4


class BoundedEffect(nn.Module):
    """What such networks have in common; they define ``spec`` and ``predict``."""

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        raise NotImplementedError

    def predict(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 wet_time"]:
        """Return what ``dry`` becomes, without its look-back and its look-ahead."""
        raise NotImplementedError

    def forward(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 time"]:
        """Return what ``dry`` becomes, at its length; before and after it lies silence."""
        spec, length = self.spec, dry.shape[-1]
        at_a_time = BLOCKS_AT_A_TIME * spec.block_samples
        # the first block of a stream ends where it does here
        late = spec.latency_samples
        rest = -(length + late) % spec.block_samples
        padded = F.pad(dry, (spec.context_samples + late, late + rest))
        beyond = spec.context_samples + late
        parts = [
            self.predict(padded[..., start : start + at_a_time + beyond], knobs)
            for start in range(0, padded.shape[-1] - beyond, at_a_time)
        ]
        return torch.cat(parts, dim=-1)[..., late : late + length]

    def initial_state(self, batch_size: int = 1) -> EffectState:
        """Return the state before the first block: silence."""
        known = self.spec.context_samples + self.spec.latency_samples
        return (next(iter(self.parameters())).new_zeros(batch_size, 1, known),)

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        (past,) = state
        audio = torch.cat([past, block], dim=-1)
        return self.predict(audio, knobs), (audio[..., -past.shape[-1] :],)
