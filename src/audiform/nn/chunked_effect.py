"""Effects that answer chunk by chunk: each chunk of dry audio gives its newest samples, wet.

The samples before are the look-back: what a compressor still remembers. Nothing else is carried
from chunk to chunk, so blocks give exactly what one pass gives.

Each place of an answer has weights of its own, and so a noise of its own: answers side by side
repeat it with their length, which is heard as a comb. Answers that overlap, and are averaged,
have each sample from several places: the noise is lower, and as loud everywhere.
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
    that the last frames reach to, beyond the chunk, are given; otherwise they are zeros. Each
    sample is the average of ``overlap`` answers.
    """

    n_fft: int
    hop_length: int
    chunk_samples: int
    shrink_factor: int
    look_ahead: bool
    overlap: int = 1

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
    def stride_samples(self) -> int:
        """Samples from one answer to the next."""
        return self.output_samples // self.overlap

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
        if self.output_samples % self.overlap:
            return (
                f"{self.overlap} answers of {self.output_samples} samples cannot overlap evenly: "
                "give an overlap that divides their length"
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
        frames = self.frames
        others = frames.output_samples - frames.stride_samples
        return EffectSpec(
            sample_rate=self.sample_rate,
            audio_channels=1,
            knobs=self.knobs,
            context_samples=frames.context_samples + others,
            block_samples=frames.stride_samples,
            latency_samples=frames.latency_samples + others,
        )

    def core(self, chunks: Tensor, knobs: Tensor) -> tuple[Tensor, ...]:
        """Run the network alone: its first result is the wet end of each chunk."""
        raise NotImplementedError

    def predict(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 wet_time"]:
        """Return what ``dry`` becomes, without its look-back and its look-ahead.

        It must hold both and a whole number of blocks; they come undelayed. In training answers
        stand side by side, as each has to be right.
        """
        frames, spec = self.frames, self.spec
        length = dry.shape[-1] - spec.context_samples - spec.latency_samples
        if frames.overlap == 1 or not self.training:
            return self._overlapped(self._answers(dry, knobs, stride=frames.stride_samples))
        from_first = dry[..., spec.context_samples - frames.context_samples :]
        answers = self._answers(from_first, knobs, stride=frames.output_samples)
        return answers.flatten(1)[:, None, :length]

    def _answers(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"], *, stride: int
    ) -> Float[Tensor, "batch answer output"]:
        """Return the answers to all chunks, ``stride`` samples apart."""
        size = self.frames.chunk_samples + self.frames.latency_samples
        chunks = dry[:, 0].unfold(-1, size, stride)
        at_a_time = max(1, CHUNKS_AT_A_TIME // len(dry))
        parts = []
        for some in chunks.split(at_a_time, dim=1):
            count = some.shape[1]
            wet = self.core(some.flatten(0, 1), knobs.repeat_interleave(count, dim=0))[0]
            parts.append(wet.unflatten(0, (len(dry), count)))
        return torch.cat(parts, dim=1)

    def _overlapped(
        self, answers: Float[Tensor, "batch answer output"]
    ) -> Float[Tensor, "batch 1 wet_time"]:
        """Return the samples that all of their answers are known of."""
        overlap = self.frames.overlap
        if overlap == 1:
            return answers.flatten(1)[:, None]
        length = answers.shape[-1]
        places = (torch.arange(length, dtype=torch.float64) + 0.5) / length
        window = (2.0 / overlap * torch.sin(math.pi * places).square()).to(answers)
        strides = (answers * window).unflatten(-1, (overlap, -1))
        count = answers.shape[1] - overlap + 1
        # the newest answer to a stride has it as its first one
        parts = [strides[:, k : k + count, overlap - 1 - k] for k in range(overlap)]
        return torch.stack(parts).sum(dim=0).flatten(1)[:, None]

    def forward(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 time"]:
        """Return what ``dry`` becomes, at its length; before and after it lies silence.

        The first chunk ends where the first block of a stream does.
        """
        length, spec = dry.shape[-1], self.spec
        latency = spec.latency_samples
        rest = -(length + latency) % spec.block_samples
        padded = F.pad(dry, (spec.context_samples + latency, latency + rest))
        return self.predict(padded, knobs)[..., latency : latency + length]

    def initial_state(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Return the state before the first block: silence."""
        known = self.spec.context_samples + self.spec.latency_samples
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
