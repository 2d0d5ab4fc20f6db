"""Hybrid Demucs: two U-Nets, over the spectrum and over the waveform, that share their middle.

A. Défossez, "Hybrid Spectrogram and Waveform Source Separation", arXiv:2111.03600. Equal to
the published network number for number; its options are those that published weights use.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Complex, Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from audiform.dsp.level import MonoDeviation
from audiform.dsp.standardise import ItemLevel, item_level
from audiform.dsp.stft import StftSpec, aligned_istft, aligned_stft
from audiform.nn.complex_channels import channels_to_complex, complex_to_channels
from audiform.nn.frequency_bands import BandedDecoderLayer, BandedEncoderLayer
from audiform.nn.two_branch_unet import ascend, descend
from audiform.nn.unet import (
    FrequencyEmbedding,
    UNetDecoderLayer,
    UNetDownsampling,
    UNetEncoderLayer,
    UNetLayerShape,
    UNetUpsampling,
    rescale_initial_weights,
)
from audiform.nn.unet_checks import check_branches, check_norms
from audiform.protocols import Analysis, OverlapAdd, SeparationSpec

#: Added to a magnitude before dividing by it, for ``phase = "damped"``.
MAGNITUDE_FLOOR = 1e-8

#: A share of the frequencies.
BandEdge = Annotated[float, Field(gt=0, lt=1)]


class HDemucsConfig(BaseModel):
    """Hyper-parameters of Hybrid Demucs; the defaults are those of the published class.

    Each level has ``growth`` times the channels of the one outside it. The waveform's branch
    ends where the spectrum has one frequency left; the levels further in are shared and have
    a stride of ``shared_stride``. ``spectrum`` says what the network sees and gives: complex
    numbers, or magnitudes, which then get the phase of the mixture. ``phase`` is for the
    latter: where the mixture is (nearly) silent "exact" still has the size of the magnitude,
    "damped" falls to zero.

    ``band_edges`` are shares of the frequencies, rising: the ``banded_levels`` outermost levels
    of the spectrum have weights of their own in each band between them. ``norm_starts``,
    ``branch_attention_starts`` and ``branch_lstm_starts`` are the first levels with group norms
    (of ``norm_groups`` groups), with local attention and with an LSTM in the residual branches.

    ``late_spectrum`` repeats a mistake that some published weights were trained with: the
    spectrum sees zeros instead of reflections beyond the ends, and its part of the result comes
    1.5 hops late.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = Field(("drums", "bass", "other", "vocals"), min_length=1)
    audio_channels: int = Field(2, ge=1, le=64)
    sample_rate: int = Field(44100, gt=0)
    segment_seconds: Fraction = Field(Fraction(40), gt=0, le=3600)
    hidden_channels: int = Field(48, ge=1, le=4096)
    growth: int = Field(2, ge=1, le=16)
    depth: int = Field(6, ge=2, le=10)
    n_fft: int = Field(4096, ge=16, le=2**20)
    spectrum: Literal["complex", "magnitude"] = "complex"
    phase: Literal["exact", "damped"] = "exact"
    late_spectrum: bool = False
    kernel_size: int = Field(8, ge=4, multiple_of=4)
    stride: int = Field(4, ge=2)
    shared_stride: int = Field(2, ge=2, le=64, multiple_of=2)
    encoder_context: int = Field(0, ge=0, le=64)
    decoder_context: int = Field(1, ge=0, le=64)
    band_edges: tuple[BandEdge, ...] = Field((), max_length=16)
    banded_levels: int = Field(2, ge=1)
    norm_starts: int = Field(4, ge=1)
    norm_groups: int = Field(4, ge=1)
    encoder_branches: bool = True
    decoder_branches: bool = False
    branch_depth: int = Field(2, ge=1, le=16)
    branch_compression: float = Field(4.0, ge=1)
    branch_attention_starts: int = Field(4, ge=0)
    branch_lstm_starts: int = Field(4, ge=0)
    branch_initial_gain: float = 1e-4
    frequency_embedding: float = Field(0.2, ge=0)
    frequency_embedding_scale: float = Field(10.0, gt=0)
    rescale_reference: float = Field(0.1, ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> HDemucsConfig:
        if self.kernel_size != 2 * self.stride:
            raise ValueError(
                f"kernel_size = {self.kernel_size} must be twice stride = {self.stride}, "
                "so that each level divides the length exactly"
            )
        levels = self.spectrum_levels
        if levels < 2 or self.n_fft != 4 * self.stride**levels:
            raise ValueError(
                f"n_fft = {self.n_fft} must be 4 x stride^levels (stride = {self.stride}, two "
                "levels at least), so that both branches have as many steps where they meet"
            )
        if self.depth < levels:
            raise ValueError(
                f"the branches meet after {levels} levels and depth = {self.depth}; raise depth, "
                "or lower n_fft"
            )
        channels = [self.level_channels(level) for level in range(self.depth)]
        check_norms(channels, norm_starts=self.norm_starts, norm_groups=self.norm_groups)
        if self.encoder_branches or self.decoder_branches:
            check_branches(
                channels,
                compression=self.branch_compression,
                attention_starts=self.branch_attention_starts,
            )
        self._check_bands()
        return self

    def _check_bands(self) -> None:
        if not self.band_edges:
            return
        last = min(self.banded_levels, self.depth)
        if last >= self.spectrum_levels or last > self.norm_starts:
            raise ValueError(
                f"banded_levels = {self.banded_levels} must be outside of the levels with norms "
                f"(norm_starts = {self.norm_starts}) and of the one where the branches meet; "
                "lower it"
            )
        bins = self.n_fft // 2 // self.stride ** (last - 1)
        positions = [0, *(round(bins * edge) for edge in self.band_edges), bins]
        steps = [b - a for a, b in pairwise(positions)]
        if min(steps) < self.kernel_size:
            raise ValueError(
                f"band_edges = {self.band_edges} leave bands of {min(steps)} bins at the innermost "
                f"banded level; they must rise from 0 to 1 and leave {self.kernel_size} bins"
            )

    @property
    def spectrum_levels(self) -> int:
        """Levels over frequency; the waveform's branch has as many."""
        levels, hop = 0, self.n_fft // 4
        while hop >= self.stride:
            levels, hop = levels + 1, hop // self.stride
        return levels

    def level_channels(self, level: int) -> int:
        """Return the channels inside a level; level 0 is the outermost."""
        return self.hidden_channels * self.growth**level

    @property
    def segment_samples(self) -> int:
        """Length of the segments that the network is at its best with."""
        return int(self.segment_seconds * self.sample_rate)

    def is_banded(self, level: int) -> bool:
        """Tell whether the spectrum has bands at ``level``."""
        return bool(self.band_edges) and level < self.banded_levels

    def layer_shape(self, level: int, *, over_frequency: bool, encoder: bool) -> UNetLayerShape:
        """Return the shape of a layer; level 0 is the outermost."""
        shared = level >= self.spectrum_levels
        has_branches = self.encoder_branches if encoder else self.decoder_branches
        return UNetLayerShape(
            over_frequency=over_frequency,
            kernel_size=2 * self.shared_stride if shared else self.kernel_size,
            stride=self.shared_stride if shared else self.stride,
            context=self.encoder_context if encoder else self.decoder_context,
            norm_groups=self.norm_groups if level >= self.norm_starts else None,
            branch_depth=self.branch_depth if has_branches else 0,
            branch_compression=self.branch_compression,
            branch_initial_gain=self.branch_initial_gain,
            branch_attention=level >= self.branch_attention_starts,
            branch_lstm=level >= self.branch_lstm_starts,
            # the last kernel over frequency takes all that is left, and gives one
            padded=not (over_frequency and level == self.spectrum_levels - 1),
        )


class SegmentContext(NamedTuple):
    """What ``analyse`` took out or left aside, for ``synthesise``.

    ``phase`` is None where the network itself gives complex numbers.
    """

    spectrum: ItemLevel
    waveform: ItemLevel
    phase: Complex[Tensor, "batch channels frequency frames"] | None
    num_samples: int


class HDemucs(nn.Module):
    """Hybrid Demucs; see the module's text for the paper."""

    def __init__(self, config: HDemucsConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = StftSpec(config.n_fft, config.n_fft // 4)

        inner = [config.level_channels(level) for level in range(config.depth)]
        parts = 2 if config.spectrum == "complex" else 1  # real and imaginary are channels
        mixture, stems = config.audio_channels, config.audio_channels * len(config.sources)
        shared = range(config.spectrum_levels, config.depth)

        self.spectrum_encoder = self._spectrum_encoder([parts * mixture, *inner])
        self.waveform_encoder = self._waveform_encoder([mixture, *inner])
        self.shared_encoder = nn.ModuleList(
            UNetEncoderLayer(
                inner[level - 1],
                inner[level],
                config.layer_shape(level, over_frequency=False, encoder=True),
            )
            for level in shared
        )
        self.shared_decoder = nn.ModuleList(
            UNetDecoderLayer(
                inner[level],
                inner[level - 1],
                config.layer_shape(level, over_frequency=False, encoder=False),
                outermost=False,
            )
            for level in reversed(shared)
        )
        self.spectrum_decoder = self._spectrum_decoder([parts * stems, *inner])
        self.waveform_decoder = self._waveform_decoder([stems, *inner])
        self.frequency_embedding = None
        if share := config.frequency_embedding:
            bins, scale = config.n_fft // 2 // config.stride, config.frequency_embedding_scale
            self.frequency_embedding = FrequencyEmbedding(bins, inner[0], scale=scale, share=share)
        if config.rescale_reference:
            rescale_initial_weights(self, reference=config.rescale_reference)

    def _spectrum_encoder(self, channels: list[int]) -> nn.ModuleList:
        config = self.config

        def layer(level: int) -> nn.Module:
            shape = config.layer_shape(level, over_frequency=True, encoder=True)
            ends = channels[level], channels[level + 1]
            if config.is_banded(level):
                return BandedEncoderLayer(*ends, shape, edges=config.band_edges)
            return UNetEncoderLayer(*ends, shape)

        return nn.ModuleList(layer(level) for level in range(config.spectrum_levels))

    def _waveform_encoder(self, channels: list[int]) -> nn.ModuleList:
        meeting = self.config.spectrum_levels - 1
        return nn.ModuleList(
            (UNetDownsampling if level == meeting else UNetEncoderLayer)(
                channels[level],
                channels[level + 1],
                self.config.layer_shape(level, over_frequency=False, encoder=True),
            )
            for level in range(meeting + 1)
        )

    def _spectrum_decoder(self, channels: list[int]) -> nn.ModuleList:
        config = self.config

        def layer(level: int) -> nn.Module:
            shape = config.layer_shape(level, over_frequency=True, encoder=False)
            ends = channels[level + 1], channels[level]
            if config.is_banded(level):
                return BandedDecoderLayer(
                    *ends, shape, edges=config.band_edges, outermost=level == 0
                )
            return UNetDecoderLayer(*ends, shape, outermost=level == 0)

        return nn.ModuleList(layer(level) for level in reversed(range(config.spectrum_levels)))

    def _waveform_decoder(self, channels: list[int]) -> nn.ModuleList:
        meeting = self.config.spectrum_levels - 1

        def layer(level: int) -> nn.Module:
            shape = self.config.layer_shape(level, over_frequency=False, encoder=False)
            ends = channels[level + 1], channels[level]
            if level == meeting:
                return UNetUpsampling(*ends, shape)
            return UNetDecoderLayer(*ends, shape, outermost=level == 0)

        return nn.ModuleList(layer(level) for level in reversed(range(meeting + 1)))

    @property
    def spec(self) -> SeparationSpec:
        """What the engine must know."""
        return SeparationSpec.of(
            self.config,
            join=OverlapAdd(0.25),
            statistic=MonoDeviation(),
        )

    def input_samples(self, segment_samples: int) -> int:
        """Segments are fed as they are."""
        return segment_samples

    def analyse(self, mixture: Float[Tensor, "batch channels time"]) -> Analysis:
        """Return the normalised spectrum and waveform."""
        config = self.config
        transformed = aligned_stft(mixture, self.stft, zeros_beyond=config.late_spectrum)
        phase = None
        if config.spectrum == "complex":
            spectrum = complex_to_channels(transformed)
        else:
            spectrum = transformed.abs()
            phase = _phase(transformed, damped=config.phase == "damped")
        levels = item_level(spectrum), item_level(mixture)
        return Analysis(
            inputs=(levels[0].remove(spectrum), levels[1].remove(mixture)),
            context=SegmentContext(*levels, phase=phase, num_samples=mixture.shape[-1]),
        )

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the two U-Nets and their shared middle on normalised spectrum and waveform.

        Returns (batch, sources x channels x parts, frequency, frames) and
        (batch, sources x channels, time).
        """
        spectrum, waveform = inputs
        outer = zip(self.spectrum_encoder[:-1], self.waveform_encoder[:-1], strict=True)
        way = descend(spectrum, waveform, outer, embedding=self.frequency_embedding)
        meeting = self.waveform_encoder[-1](way.waveform)[:, :, None]
        met = self.spectrum_encoder[-1](way.spectrum, meeting)

        middle = self._shared(met.squeeze(2)).unsqueeze(2)

        meeting_layer = self.spectrum_decoder[0]
        assert isinstance(meeting_layer, UNetDecoderLayer)
        mixed = meeting_layer.mix(middle + met)
        spectrum = meeting_layer.upsample(mixed, way.spectrum.shape[-2])
        waveform = self.waveform_decoder[0](mixed.squeeze(2), way.waveform.shape[-1])
        outer = zip(self.spectrum_decoder[1:], self.waveform_decoder[1:], strict=True)
        return ascend(spectrum, waveform, outer, way=way)

    def _shared(
        self, features: Float[Tensor, "batch channels steps"]
    ) -> Float[Tensor, "batch channels steps"]:
        """Run the levels that both branches share; nothing but skips goes up from the last."""
        lengths: list[int] = []
        skips: list[Tensor] = []
        for layer in self.shared_encoder:
            lengths.append(features.shape[-1])
            features = layer(features)
            skips.append(features)
        features = torch.zeros_like(features)
        for layer in self.shared_decoder:
            features = layer(features, skips.pop(), lengths.pop())
        return features

    def synthesise(
        self, outputs: tuple[Tensor, ...], analysis: Analysis
    ) -> Float[Tensor, "batch sources channels time"]:
        """Return the sum of both branches, at the level of the mixture."""
        spectrum, waveform = outputs
        context: SegmentContext = analysis.context
        num_sources = len(self.config.sources)
        spectrum = context.spectrum.restore(spectrum)
        if context.phase is None:
            stems = channels_to_complex(spectrum, num_sources)
        else:
            magnitudes = rearrange(
                spectrum,
                "batch (source channel) frequency frame -> batch source channel frequency frame",
                source=num_sources,
            )
            stems = magnitudes * context.phase[:, None]
        from_spectrum = aligned_istft(
            stems, self.stft, num_samples=context.num_samples, late=self.config.late_spectrum
        )
        from_waveform = rearrange(
            context.waveform.restore(waveform),
            "batch (source channel) time -> batch source channel time",
            source=num_sources,
        )
        return from_spectrum + from_waveform

    def forward(
        self, mixture: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch sources channels time"]:
        """Take ``mixture`` apart."""
        analysis = self.analyse(mixture)
        return self.synthesise(self.core(*analysis.inputs), analysis)


def _phase(
    spectrum: Complex[Tensor, "batch channels frequency frames"], *, damped: bool
) -> Complex[Tensor, "batch channels frequency frames"]:
    """Return numbers of size one (1 for zeros), or ``damped`` where the size is near zero.

    A transform of silence gives zeros of either sign, and ``angle`` would tell them apart.
    """
    if damped:
        return spectrum / (MAGNITUDE_FLOOR + spectrum.abs())
    phase = torch.polar(torch.ones_like(spectrum.real), spectrum.angle())
    return torch.where(spectrum == 0, 1.0, phase)
