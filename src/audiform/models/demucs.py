"""Demucs: one U-Net over the waveform.

A. Défossez, N. Usunier, L. Bottou, F. Bach, "Music Source Separation in the Waveform Domain",
arXiv:1911.13254 (v1 and v2), with the residual branches and norms that the time-domain
networks of Hybrid Demucs, arXiv:2111.03600, gained. Equal to the published network number for
number; its options are those that published weights and recipes use.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from audiform.dsp.level import MonoDeviation
from audiform.dsp.resample import resample
from audiform.dsp.standardise import ItemLevel, item_level
from audiform.nn.framed_lstm import BidirectionalLSTM
from audiform.nn.unet import (
    UNetDecoderLayer,
    UNetEncoderLayer,
    UNetLayerShape,
    rescale_initial_weights,
)
from audiform.nn.unet_checks import check_branches, check_norms
from audiform.protocols import Analysis, OverlapAdd, SeparationSpec

#: Samples that one innermost step may stand for: inputs are filled up to multiples of it.
MAX_REDUCTION = 2**16


class DemucsConfig(BaseModel):
    """Hyper-parameters of Demucs; the defaults are those of the published class.

    Each level has ``growth`` times the channels of the one outside it. ``lstm_layers`` of a
    bidirectional LSTM are in the middle. ``norm_starts``, ``branch_attention_starts`` and
    ``branch_lstm_starts`` are the first levels with group norms (of ``norm_groups`` groups),
    with local attention and with an LSTM in the residual branches. ``resample`` runs the
    U-Net at twice the sample rate, ``normalise`` at the level of the mixture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = Field(("drums", "bass", "other", "vocals"), min_length=1)
    audio_channels: int = Field(2, ge=1, le=64)
    sample_rate: int = Field(44100, gt=0)
    segment_seconds: Fraction = Field(Fraction(40), gt=0, le=3600)
    hidden_channels: int = Field(64, ge=1, le=4096)
    growth: float = Field(2.0, ge=1, le=16)
    depth: int = Field(6, ge=1, le=10)
    kernel_size: int = Field(8, ge=2, le=256)
    stride: int = Field(4, ge=1)
    context: int = Field(1, ge=0, le=64)
    gelu: bool = True
    norm_starts: int = Field(4, ge=1)
    norm_groups: int = Field(4, ge=1)
    lstm_layers: int = Field(0, ge=0, le=8)
    encoder_branches: bool = True
    decoder_branches: bool = False
    branch_depth: int = Field(2, ge=1, le=16)
    branch_compression: float = Field(4.0, ge=1)
    branch_attention_starts: int = Field(4, ge=0)
    branch_lstm_starts: int = Field(4, ge=0)
    branch_initial_gain: float = 1e-4
    resample: bool = True
    normalise: bool = True
    rescale_reference: float = Field(0.1, ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> DemucsConfig:
        if self.stride > self.kernel_size:
            raise ValueError(
                f"stride = {self.stride} leaves gaps between kernels of {self.kernel_size}; "
                "lower stride"
            )
        if self.stride**self.depth > MAX_REDUCTION:
            raise ValueError(
                f"stride = {self.stride} over depth = {self.depth} levels leaves one step of more "
                f"than {MAX_REDUCTION} samples; lower one of them"
            )
        if self.resample and (self.kernel_size % 2 or self.stride % 2):
            raise ValueError(
                f"kernel_size = {self.kernel_size} and stride = {self.stride} must be even with "
                "resample, so that the rate can be halved again"
            )
        channels = [self.level_channels(level) for level in range(self.depth)]
        check_norms(channels, norm_starts=self.norm_starts, norm_groups=self.norm_groups)
        if self.encoder_branches or self.decoder_branches:
            check_branches(
                channels,
                compression=self.branch_compression,
                attention_starts=self.branch_attention_starts,
            )
        return self

    def level_channels(self, level: int) -> int:
        """Return the channels inside a level; level 0 is the outermost."""
        channels = self.hidden_channels
        for _ in range(level):
            channels = int(self.growth * channels)
        return channels

    @property
    def segment_samples(self) -> int:
        """Length of the segments that the network is at its best with."""
        return int(self.segment_seconds * self.sample_rate)

    @property
    def rate_factor(self) -> int:
        """How many times the sample rate the U-Net runs at."""
        return 2 if self.resample else 1

    def layer_shape(self, level: int, *, encoder: bool) -> UNetLayerShape:
        """Return the shape of a layer; level 0 is the outermost."""
        has_branches = self.encoder_branches if encoder else self.decoder_branches
        return UNetLayerShape(
            over_frequency=False,
            kernel_size=self.kernel_size,
            stride=self.stride,
            context=0 if encoder else self.context,
            norm_groups=self.norm_groups if level >= self.norm_starts else None,
            branch_depth=self.branch_depth if has_branches else 0,
            branch_compression=self.branch_compression,
            branch_initial_gain=self.branch_initial_gain,
            branch_attention=level >= self.branch_attention_starts,
            branch_lstm=level >= self.branch_lstm_starts,
            padded=False,
            gelu=self.gelu,
        )


class MixtureLevel(NamedTuple):
    """What ``analyse`` took out or added, for ``synthesise`` to undo."""

    level: ItemLevel | None
    left_padding: int
    num_samples: int


class Demucs(nn.Module):
    """Demucs, over the waveform alone; see the module's text for the papers."""

    def __init__(self, config: DemucsConfig) -> None:
        super().__init__()
        self.config = config
        levels = range(config.depth)
        inner = [config.level_channels(level) for level in levels]
        stems = config.audio_channels * len(config.sources)
        self.encoder = nn.ModuleList(
            UNetEncoderLayer(
                inner[level - 1] if level else config.audio_channels,
                inner[level],
                config.layer_shape(level, encoder=True),
            )
            for level in levels
        )
        self.lstm = (
            BidirectionalLSTM(inner[-1], num_layers=config.lstm_layers)
            if config.lstm_layers
            else None
        )
        self.decoder = nn.ModuleList(
            UNetDecoderLayer(
                inner[level],
                inner[level - 1] if level else stems,
                config.layer_shape(level, encoder=False),
                outermost=level == 0,
            )
            for level in reversed(levels)
        )
        if config.rescale_reference:
            rescale_initial_weights(self, reference=config.rescale_reference)

    @property
    def spec(self) -> SeparationSpec:
        """What the engine must know."""
        return SeparationSpec.of(
            self.config,
            join=OverlapAdd(0.25),
            statistic=MonoDeviation(),
        )

    def input_samples(self, segment_samples: int) -> int:
        """Return the next length at which no strided convolution has samples left over."""
        config = self.config
        length = segment_samples * config.rate_factor
        for _ in range(config.depth):
            length = max(1, -(-(length - config.kernel_size) // config.stride) + 1)
        for _ in range(config.depth):
            length = (length - 1) * config.stride + config.kernel_size
        return -(-length // config.rate_factor)

    def analyse(self, mixture: Float[Tensor, "batch channels time"]) -> Analysis:
        """Return the waveform: normalised, with zeros up to a valid length, at the U-Net's rate.

        The level is that of the mean over channels.
        """
        num_samples = mixture.shape[-1]
        level = None
        if self.config.normalise:
            level = item_level(mixture.mean(dim=1, keepdim=True))
            mixture = level.remove(mixture)
        missing = self.input_samples(num_samples) - num_samples
        left = missing // 2
        waveform = F.pad(mixture, (left, missing - left))
        if self.config.resample:
            waveform = resample(waveform, from_rate_hz=1, to_rate_hz=2)
        return Analysis((waveform,), MixtureLevel(level, left, num_samples))

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the U-Net; returns (batch, sources x channels, time)."""
        (features,) = inputs
        lengths: list[int] = []
        skips: list[Tensor] = []
        for layer in self.encoder:
            lengths.append(features.shape[-1])
            features = layer(features)
            skips.append(features)
        if self.lstm is not None:
            features = self.lstm(features)
        for layer in self.decoder:
            features = layer(features, skips.pop(), lengths.pop())
        return (features,)

    def synthesise(
        self, outputs: tuple[Tensor, ...], analysis: Analysis
    ) -> Float[Tensor, "batch sources channels time"]:
        """Return the stems at the rate, level and length of the mixture."""
        (waveform,) = outputs
        context: MixtureLevel = analysis.context
        if self.config.resample:
            waveform = resample(waveform, from_rate_hz=2, to_rate_hz=1)
        if context.level is not None:
            waveform = context.level.restore(waveform)
        return rearrange(
            waveform.narrow(-1, context.left_padding, context.num_samples),
            "batch (source channel) time -> batch source channel time",
            source=len(self.config.sources),
        )

    def forward(
        self, mixture: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch sources channels time"]:
        """Take ``mixture`` apart."""
        analysis = self.analyse(mixture)
        return self.synthesise(self.core(*analysis.inputs), analysis)
