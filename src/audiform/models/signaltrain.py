"""SignalTrain: a spectrogram whose transforms are trained, and two autoencoders along time.

S. Hawley, B. Colburn and S. Mimilakis, "SignalTrain: profiling audio compressors with deep
neural networks", 2019, arXiv:1905.11928; written from a description of the published network.
With :meth:`SignalTrainConfig.published` it computes what that computes. Four options, named in
:class:`SignalTrainConfig`, cure what was found wrong with it, and are the default of new ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor

from audiform.knob import Knob
from audiform.nn.chunked_effect import ChunkedEffect, ChunkFrames
from audiform.nn.frame_autoencoder import FrameAutoencoder
from audiform.nn.learned_stft import LearnedSTFT, Transforms
from audiform.nn.polar import from_polar, to_polar

#: The network works on the signal at half its level, as published.
INNER_LEVEL = 0.5


class SignalTrainConfig(BaseModel):
    """Hyper-parameters of :class:`SignalTrain`.

    - ``chunk_samples``: what the network sees; ``shrink_factor``: it answers about so small a
      part of it, the newest.
    - ``rank``: width of the autoencoders' first layer.
    - ``right_context``: what the last frames see beyond the chunk: "zeros" as published, or the
      "audio" that is there, which costs a latency.
    - ``phase_correction``: "elu" as published cannot turn a phase back by more than one radian;
      "free" can.
    - ``transforms``: see :class:`~audiform.nn.learned_stft.LearnedSTFT`; "free" is published.
    - ``all_bins``: weights for the ``n_fft`` bins of the published layout, of which one half of
      the analysis is never used; False has ``n_fft // 2 + 1``, and computes the same.
    - ``overlap``: outside of training each sample is the average of so many answers, 1 as
      published: less noise and no comb, for so many times the work and a longer latency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    knobs: tuple[Knob, ...] = ()
    sample_rate: PositiveInt = 44100
    n_fft: Annotated[int, Field(ge=4, le=4096)] = 1024
    hop_length: PositiveInt = 384
    chunk_samples: PositiveInt = 8192
    shrink_factor: PositiveInt = 4
    rank: PositiveInt = 64
    right_context: Literal["zeros", "audio"] = "audio"
    phase_correction: Literal["elu", "free"] = "free"
    transforms: Transforms = "dual"
    all_bins: bool = False
    overlap: PositiveInt = 1

    @classmethod
    def published(
        cls,
        *,
        knobs: Iterable[Knob],
        sample_rate: int = 44100,
        chunk_samples: int = 8192,
        shrink_factor: int = 4,
    ) -> SignalTrainConfig:
        """Return the configuration that computes what the published network computes."""
        return cls(
            knobs=tuple(knobs),
            sample_rate=sample_rate,
            chunk_samples=chunk_samples,
            shrink_factor=shrink_factor,
            right_context="zeros",
            phase_correction="elu",
            transforms="free",
            all_bins=True,
        )

    @model_validator(mode="after")
    def _check(self) -> SignalTrainConfig:
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be even, got {self.n_fft}")
        if self.rank % 4:
            raise ValueError(f"rank must be a multiple of 4, got {self.rank}")
        if self.all_bins and self.transforms != "free":
            raise ValueError(
                f"all_bins is for transforms 'free', got {self.transforms!r}: set it to false"
            )
        if problem := self.frames.problem():
            raise ValueError(problem)
        return self

    @property
    def frames(self) -> ChunkFrames:
        """How a chunk is cut into frames."""
        return ChunkFrames(
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            chunk_samples=self.chunk_samples,
            shrink_factor=self.shrink_factor,
            look_ahead=self.right_context == "audio",
            overlap=self.overlap,
        )


class SignalTrain(ChunkedEffect):
    """Learned effect with knobs; see the module's text."""

    def __init__(self, config: SignalTrainConfig) -> None:
        super().__init__(config.frames, sample_rate=config.sample_rate, knobs=config.knobs)
        self.config = config
        self.stft = LearnedSTFT(
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            transforms=config.transforms,
            all_bins=config.all_bins,
        )
        self.magnitude_path = self._autoencoder(bounded=True)
        self.phase_path = self._autoencoder(bounded=config.phase_correction == "elu")

    def _autoencoder(self, *, bounded: bool) -> FrameAutoencoder:
        return FrameAutoencoder(
            num_frames=self.frames.num_frames,
            output_frames=self.frames.output_frames,
            num_knobs=len(self.config.knobs),
            rank=self.config.rank,
            bounded=bounded,
        )

    def core(self, chunks: Tensor, knobs: Tensor) -> tuple[Tensor, ...]:
        """Return the wet end of each chunk, and the magnitudes that it was made of.

        ``chunks``: (batch, chunk and look-ahead). ``knobs``: (batch, knob), in the network's
        range. The magnitudes, (batch, bin, output frame), are for a loss that keeps them small.
        """
        frames = self.frames
        level = INNER_LEVEL * chunks
        real, imaginary = self.stft.analyse(level, num_frames=frames.num_frames)
        magnitude, phase = to_polar(real, imaginary)
        used = slice(-frames.output_frames, None)
        new_magnitude = self.magnitude_path(magnitude, knobs) * magnitude[..., used]
        new_phase = self.phase_path(phase, knobs) + phase[..., used]
        wet = self.stft.synthesise(*from_polar(new_magnitude, new_phase))
        start = frames.context_samples
        residual = level[:, start : start + frames.output_samples]
        return (wet + residual) / INNER_LEVEL, new_magnitude
