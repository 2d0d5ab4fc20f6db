"""Effects that answer chunk by chunk: each chunk of dry audio gives its newest samples, wet.

The samples before are the look-back: what a compressor still remembers. Nothing else is carried
from chunk to chunk, so blocks give exactly what one pass gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.knob import Knob
from audiform.protocols import EffectSpec

#: Chunks that are run at a time, unless more are needed for a batch of examples.
CHUNKS_AT_A_TIME = 64


@dataclass(frozen=True)
class ChunkFrames:
    """How a chunk is cut into frames, and which of its samples are answered.

    Frame i starts at sample ``hop_length * i - n_fft``. ``look_ahead`` tells whether the samples
    that the last frames reach to, beyond the chunk, are given; otherwise they are zeros.
    """

    n_fft: int
    hop_length: int
    chunk_samples: int
    shrink_factor: int
    look_ahead: bool

    @property
    def num_frames(self) -> int:
        """Frames of a chunk."""
        return self._frames(self.chunk_samples)

    @property
    def output_frames(self) -> int:
        """Frames, the last ones, that the answer is made of."""
        return self._frames(math.ceil(self.chunk_samples / self.shrink_factor))

    def _frames(self, samples: int) -> int:
        return math.ceil(samples / self.hop_length) + math.ceil(self.n_fft / self.hop_length)

    @property
    def output_samples(self) -> int:
        """Samples, the last ones of the chunk, that are answered."""
        return (self.output_frames - 1) * self.hop_length - self.n_fft

    @property
    def context_samples(self) -> int:
        """Samples of a chunk before those that are answered."""
        return self.chunk_samples - self.output_samples

    @property
    def latency_samples(self) -> int:
        """Samples beyond the chunk that must be known."""
        beyond = self.hop_length * (self.num_frames - 1) - self.chunk_samples
        return max(0, beyond) if self.look_ahead else 0

    @property
    def misaligned_samples(self) -> int:
        """How far what the frames give lies before the samples that are answered."""
        return self.context_samples - self.hop_length * (self.num_frames - self.output_frames)

    def problem(self) -> str | None:
        """Say what keeps these numbers from working, or None."""
        if self.output_samples < 1:
            return (
                f"a chunk of {self.chunk_samples} samples / {self.shrink_factor} gives no samples "
                f"at n_fft {self.n_fft} and hop_length {self.hop_length}: raise chunk_samples or "
                "lower shrink_factor"
            )
        if self.context_samples < 0:
            return "the output is longer than the chunk: raise chunk_samples or shrink_factor"
        if self.look_ahead and self.misaligned_samples:
            return (
                f"of a chunk of {self.chunk_samples} samples the last {self.output_samples} are "
                f"answered, and the frames lie {self.misaligned_samples} samples before them: "
                f"change chunk_samples by -{self.misaligned_samples}"
            )
        return None


class ChunkedEffect(nn.Module):
    """What networks that answer chunk by chunk have in common; they define ``core``."""

    def __init__(self, frames: ChunkFrames, *, sample_rate: int, knobs: tuple[Knob, ...]) -> None:
        super().__init__()
        self.frames = frames
        self.sample_rate = sample_rate
        self.knobs = knobs

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        return EffectSpec(
            sample_rate=self.sample_rate,
            audio_channels=1,
            knobs=self.knobs,
            context_samples=self.frames.context_samples,
            block_samples=self.frames.output_samples,
            latency_samples=self.frames.latency_samples,
        )

    def core(self, chunks: Tensor, knobs: Tensor) -> tuple[Tensor, ...]:
        """Run the network alone: its first result is the wet end of each chunk."""
        raise NotImplementedError

    def predict(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 wet_time"]:
        """Return what ``dry`` becomes, without its look-back and its look-ahead.

        It must hold both and a whole number of outputs; they come undelayed.
        """
        size = self.frames.chunk_samples + self.frames.latency_samples
        chunks = dry[:, 0].unfold(-1, size, self.frames.output_samples)
        at_a_time = max(1, CHUNKS_AT_A_TIME // len(dry))
        parts = []
        for some in chunks.split(at_a_time, dim=1):
            count = some.shape[1]
            wet = self.core(some.flatten(0, 1), knobs.repeat_interleave(count, dim=0))[0]
            parts.append(wet.reshape(len(dry), -1))
        return torch.cat(parts, dim=-1)[:, None]

    def forward(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 time"]:
        """Return what ``dry`` becomes, at its length; before and after it lies silence.

        The first chunk ends where the first block of a stream does.
        """
        length, frames = dry.shape[-1], self.frames
        latency = frames.latency_samples
        rest = -(length + latency) % frames.output_samples
        padded = F.pad(dry, (frames.context_samples + latency, latency + rest))
        return self.predict(padded, knobs)[..., latency : latency + length]

    def initial_state(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Return the state before the first block: silence."""
        known = self.frames.context_samples + self.frames.latency_samples
        like = next(iter(self.parameters()))
        return (like.new_zeros(batch_size, 1, known),)

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: tuple[Tensor, ...],
    ) -> tuple[Float[Tensor, "batch 1 time"], tuple[Tensor, ...]]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        (past,) = state
        audio = torch.cat([past, block], dim=-1)
        return self.predict(audio, knobs), (audio[..., -past.shape[-1] :],)
