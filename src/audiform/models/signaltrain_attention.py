"""SignalTrain with attention: what is done to the sound depends on all that was heard.

In SignalTrain (arXiv:1905.11928) every bin is treated by its own frames alone, so no bin knows
how loud the others are, or were a second ago; and what is done changes from frame to frame, 8.7
ms apart. Here two attentions are added to its autoencoders.

Levels: every 1.5 ms make one token of how loud the samples are, and the newest tokens look back
at all others for a gain of the whole sound, known every 0.2 ms (see
:mod:`audiform.nn.gain_curve`). Heads forget with distance, as fast as the knobs say.

Frames: each is one token, made of the magnitudes of all bins; the frames that are answered look
back at all of them, near ones one by one, far ones in groups; and what they find is a gain and a
turn of phase for each bin, added to what the bin's own autoencoder says, before the ELU.

Untrained, it leaves the sound as it is. S. Hawley reported attention inside SignalTrain in a
talk (2020) without publishing a network: this one is our own.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.knob import Knob
from audiform.nn.chunked_effect import ChunkedEffect, ChunkFrames
from audiform.nn.frame_autoencoder import FrameAutoencoder
from audiform.nn.gain_curve import GainCurve
from audiform.nn.learned_stft import LearnedSTFT, Transforms
from audiform.nn.newest_attention import NewestBlock, age_code, near_and_far
from audiform.nn.polar import from_polar, to_polar

#: Added to a magnitude before its logarithm: -80 dB.
LEVEL_FLOOR = 1e-4

#: The logarithm of a magnitude times this is between about -2 and 0.5.
LEVEL_SCALE = 0.2


class SignalTrainAttentionConfig(BaseModel):
    """Hyper-parameters of :class:`SignalTrainAttention`.

    - ``chunk_samples``, ``shrink_factor``, ``rank``, ``transforms``, ``overlap``: as in
      SignalTrain; a chunk may be seconds long.
    - ``near_frames``: the newest frames, which are keys one by one and what the autoencoders
      see; ``far_group``: so many older ones make one key together.
    - ``token_channels``, ``num_heads``, ``num_blocks``: of both attentions.
    - ``level_samples``: so many samples make one token of levels; ``near_levels``: the newest of
      them are keys one by one, older ones in groups of ``far_group``; ``point_samples``: the
      gain is known at points so far apart; ``num_ramps``: see
      :class:`~audiform.nn.gain_curve.LevelTokens`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    knobs: tuple[Knob, ...] = ()
    sample_rate: PositiveInt = 44100
    n_fft: Annotated[int, Field(ge=4, le=4096)] = 1024
    hop_length: PositiveInt = 384
    chunk_samples: PositiveInt = 32768
    shrink_factor: PositiveInt = 16
    rank: PositiveInt = 64
    transforms: Transforms = "dual"
    near_frames: PositiveInt = 25
    far_group: PositiveInt = 8
    token_channels: PositiveInt = 64
    num_heads: PositiveInt = 4
    num_blocks: PositiveInt = 2
    level_samples: PositiveInt = 64
    near_levels: PositiveInt = 128
    point_samples: PositiveInt = 8
    num_ramps: PositiveInt = 8
    overlap: PositiveInt = 1

    @model_validator(mode="after")
    def _check(self) -> SignalTrainAttentionConfig:
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be even, got {self.n_fft}")
        if self.rank % 4:
            raise ValueError(f"rank must be a multiple of 4, got {self.rank}")
        if self.token_channels % (2 * self.num_heads):
            raise ValueError(
                f"token_channels {self.token_channels} must be a multiple of twice num_heads "
                f"{self.num_heads}"
            )
        if problem := self.frames.problem():
            raise ValueError(problem)
        if not self.frames.output_frames <= self.near_frames <= self.frames.num_frames:
            raise ValueError(
                f"near_frames {self.near_frames} must lie between the "
                f"{self.frames.output_frames} frames of the output and the "
                f"{self.frames.num_frames} of the chunk"
            )
        self._check_levels()
        return self

    def _check_levels(self) -> None:
        sizes = self.chunk_samples, self.frames.output_samples
        if any(size % self.level_samples for size in sizes):
            raise ValueError(
                f"level_samples {self.level_samples} must divide the chunk of {sizes[0]} samples "
                f"and its answer of {sizes[1]}"
            )
        if self.level_samples % self.point_samples:
            raise ValueError(
                f"point_samples {self.point_samples} must divide level_samples {self.level_samples}"
            )
        queries = self.frames.output_samples // self.level_samples + 1
        if self.near_levels < queries:
            raise ValueError(
                f"near_levels {self.near_levels} must be at least {queries}, the tokens of the "
                "answer and one more: raise near_levels or level_samples"
            )

    @property
    def frames(self) -> ChunkFrames:
        """How a chunk is cut into frames."""
        return ChunkFrames(
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            chunk_samples=self.chunk_samples,
            shrink_factor=self.shrink_factor,
            look_ahead=True,
            overlap=self.overlap,
        )


class FrameAttender(nn.Module):
    """From the magnitudes of all frames to a gain and a phase for each bin of the newest."""

    def __init__(self, config: SignalTrainAttentionConfig) -> None:
        super().__init__()
        self.config = config
        width, num_bins, num_knobs = (
            config.token_channels,
            config.n_fft // 2 + 1,
            len(config.knobs),
        )
        self.embed = nn.Linear(num_bins, width)
        self.add_knobs = nn.Linear(num_knobs, width, bias=False) if num_knobs else None
        self.blocks = nn.ModuleList(
            NewestBlock(width, num_heads=config.num_heads, num_settings=num_knobs)
            for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * num_bins)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, magnitude: Float[Tensor, "batch bin frame"], knobs: Float[Tensor, "batch knob"]
    ) -> tuple[Float[Tensor, "batch bin output_frame"], Float[Tensor, "batch bin output_frame"]]:
        """Return what is added to the gain and to the phase of each bin."""
        config = self.config
        level = LEVEL_SCALE * (magnitude + LEVEL_FLOOR).log().transpose(1, 2)
        tokens = self.embed(level)
        if self.add_knobs is not None:
            tokens = tokens + self.add_knobs(knobs)[:, None]
        memory, ages = near_and_far(tokens, near_frames=config.near_frames, group=config.far_group)
        memory = memory + age_code(ages, config.token_channels)
        queries = memory[:, : config.frames.output_frames]
        for block in self.blocks:
            queries = block(queries, memory, knobs)
        gain, phase = self.head(self.norm(queries.flip(1))).transpose(1, 2).chunk(2, dim=1)
        return gain, phase


class SignalTrainAttention(ChunkedEffect):
    """Learned effect with knobs; see the module's text."""

    def __init__(self, config: SignalTrainAttentionConfig) -> None:
        super().__init__(config.frames, sample_rate=config.sample_rate, knobs=config.knobs)
        self.config = config
        self.stft = LearnedSTFT(
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            transforms=config.transforms,
            all_bins=False,
        )
        self.attender = FrameAttender(config)
        self.magnitude_path, self.phase_path = (
            FrameAutoencoder(
                num_frames=config.near_frames,
                output_frames=config.frames.output_frames,
                num_knobs=len(config.knobs),
                rank=config.rank,
                bounded=False,
            )
            for _ in range(2)
        )
        last = self.magnitude_path.decode[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        self.gain_curve = GainCurve(
            config.token_channels,
            output_samples=config.frames.output_samples,
            token_samples=config.level_samples,
            point_samples=config.point_samples,
            num_ramps=config.num_ramps,
            near_tokens=config.near_levels,
            far_group=config.far_group,
            num_heads=config.num_heads,
            num_blocks=config.num_blocks,
            num_knobs=len(config.knobs),
        )

    def core(self, chunks: Tensor, knobs: Tensor) -> tuple[Tensor, ...]:
        """Return the wet end of each chunk, and the magnitudes of what was added to the dry one.

        ``chunks``: (batch, chunk and look-ahead). ``knobs``: (batch, knob), in the network's
        range. The magnitudes, (batch, bin, output frame), are for a loss that keeps them small.
        """
        frames = self.frames
        real, imaginary = self.stft.analyse(chunks, num_frames=frames.num_frames)
        magnitude, phase = to_polar(real, imaginary)
        gain, turn = self.attender(magnitude, knobs)
        near, used = slice(-self.config.near_frames, None), slice(-frames.output_frames, None)
        gain = F.elu(gain + self.magnitude_path(magnitude[..., near], knobs))
        turn = turn + self.phase_path(phase[..., near], knobs)
        new_magnitude = gain * magnitude[..., used]
        added = self.stft.synthesise(*from_polar(new_magnitude, turn + phase[..., used]))
        heard = chunks[:, : frames.chunk_samples]
        dry = heard[:, frames.context_samples :]
        return self.gain_curve(heard, knobs) * (dry + added), new_magnitude
