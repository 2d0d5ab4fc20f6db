"""HT Demucs: two U-Nets, one over the spectrum and one over the waveform, joined by a
cross-domain transformer.

S. Rouard, F. Massa, A. Défossez, "Hybrid Transformers for Music Source Separation",
arXiv:2211.08553, over the outer layers of Hybrid Demucs, arXiv:2111.03600. Equal to the
published network number for number; its options are those that published weights use.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from audiform.dsp.level import MonoDeviation
from audiform.dsp.standardise import ItemLevel, item_level
from audiform.dsp.stft import StftSpec, aligned_istft, aligned_stft
from audiform.nn.complex_channels import channels_to_complex, complex_to_channels
from audiform.nn.position import sinusoids_1d, sinusoids_2d
from audiform.nn.sparse_attention import SparseAttention, SparseAttentionConfig
from audiform.nn.transformer import TransformerLayer
from audiform.nn.two_branch_unet import ascend, descend
from audiform.nn.unet import (
    FrequencyEmbedding,
    UNetDecoderLayer,
    UNetEncoderLayer,
    UNetLayerShape,
    rescale_initial_weights,
)
from audiform.protocols import Analysis, OverlapAdd, SeparationSpec


class HTDemucsConfig(BaseModel):
    """Hyper-parameters of HT Demucs; the defaults are the released ``htdemucs``.

    Each level has ``growth`` times the channels of the one outside it. The transformer is
    ``bottom_channels`` wide (0: as wide as the innermost level) and has
    ``transformer_layers`` layers in each branch, self- and cross-attention in turn, with
    ``transformer_dropout`` in training.
    ``norm_starts`` is the first level with group norms (of ``norm_groups`` groups). ``sparse``
    lets each token of the transformer look at some of the others only, so that segments can be
    longer ("Sparse HT Demucs"); the weights are the same as without.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    audio_channels: int = Field(2, ge=1)
    sample_rate: int = Field(44100, gt=0)
    segment_seconds: Fraction = Field(Fraction(39, 5), gt=0)
    hidden_channels: int = Field(48, ge=1)
    growth: int = Field(2, ge=1, le=16)
    depth: int = Field(4, ge=1, le=8)
    n_fft: int = Field(4096, ge=16)
    kernel_size: int = Field(8, ge=4, multiple_of=4)
    stride: int = Field(4, ge=2)
    encoder_context: int = Field(0, ge=0)
    decoder_context: int = Field(1, ge=0)
    norm_starts: int = Field(4, ge=0)
    norm_groups: int = Field(4, ge=1)
    encoder_branches: bool = True
    decoder_branches: bool = True
    branch_depth: int = Field(2, ge=1, le=16)
    branch_compression: float = Field(8.0, gt=0)
    branch_initial_gain: float = 1e-3
    frequency_embedding: float = Field(0.2, ge=0)
    frequency_embedding_scale: float = Field(10.0, gt=0)
    bottom_channels: int = Field(512, ge=0)
    transformer_layers: int = Field(5, ge=0, le=64)
    transformer_heads: int = Field(8, ge=1)
    transformer_hidden_scale: float = Field(4.0, gt=0)
    transformer_cross_first: bool = False
    transformer_norm_in: bool = True
    transformer_norm_out: bool = True
    transformer_layer_scale: bool = True
    transformer_dropout: float = Field(0.0, ge=0, lt=1)
    position_weight: float = 1.0
    position_max_period: float = Field(10000.0, gt=1)
    rescale_reference: float = Field(0.1, ge=0)
    sparse: SparseAttentionConfig | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> HTDemucsConfig:
        if self.kernel_size != 2 * self.stride:
            raise ValueError(
                f"kernel_size = {self.kernel_size} must be twice stride = {self.stride}, "
                "so that each level divides the length exactly"
            )
        if self.n_fft // 2 // self.stride ** (self.depth - 1) <= self.kernel_size:
            raise ValueError(
                f"depth = {self.depth} leaves fewer bins than a kernel of {self.kernel_size} at "
                f"the innermost level of n_fft = {self.n_fft}; lower depth or raise n_fft"
            )
        if self.transformer_width % max(4, self.transformer_heads):
            raise ValueError(
                f"the transformer is {self.transformer_width} wide, which "
                f"{self.transformer_heads} heads (and 4, for positions) must divide; "
                "change bottom_channels or transformer_heads"
            )
        return self

    @property
    def innermost_channels(self) -> int:
        """Channels of each branch at the innermost level of the U-Nets."""
        return self.hidden_channels * self.growth ** (self.depth - 1)

    @property
    def transformer_width(self) -> int:
        """Features of each token in the transformer."""
        return self.bottom_channels or self.innermost_channels

    @property
    def segment_samples(self) -> int:
        """Length of the segments that the network was trained on."""
        return int(self.segment_seconds * self.sample_rate)

    def layer_shape(self, level: int, *, over_frequency: bool, encoder: bool) -> UNetLayerShape:
        """Return the shape of a layer; level 0 is the outermost."""
        has_branches = self.encoder_branches if encoder else self.decoder_branches
        return UNetLayerShape(
            over_frequency=over_frequency,
            kernel_size=self.kernel_size,
            stride=self.stride,
            context=self.encoder_context if encoder else self.decoder_context,
            norm_groups=self.norm_groups if level >= self.norm_starts else None,
            branch_depth=self.branch_depth if has_branches else 0,
            branch_compression=self.branch_compression,
            branch_initial_gain=self.branch_initial_gain,
        )


class SegmentLevels(NamedTuple):
    """What ``analyse`` took out and ``synthesise`` puts back."""

    spectrum: ItemLevel
    waveform: ItemLevel
    num_samples: int
    padded_samples: int


class CrossTransformer(nn.Module):
    """Two branches of tokens that look at themselves and at each other in turn."""

    def __init__(self, config: HTDemucsConfig) -> None:
        super().__init__()
        width = config.transformer_width
        self.position_weight = config.position_weight
        self.max_period = config.position_max_period
        self.cross_first = config.transformer_cross_first

        def norm() -> nn.Module:
            return nn.LayerNorm(width) if config.transformer_norm_in else nn.Identity()

        def layers(branch: int) -> nn.ModuleList:
            return nn.ModuleList(
                TransformerLayer(
                    width,
                    num_heads=config.transformer_heads,
                    hidden_width=int(width * config.transformer_hidden_scale),
                    cross=self.is_cross(index),
                    norm_out=config.transformer_norm_out,
                    layer_scale=config.transformer_layer_scale,
                    dropout=config.transformer_dropout,
                    sparse=self._sparse(config.sparse, layer=2 * index + branch),
                )
                for index in range(config.transformer_layers)
            )

        self.spectrum_norm = norm()
        self.spectrum_layers = layers(0)
        self.waveform_norm = norm()
        self.waveform_layers = layers(1)

    def is_cross(self, index: int) -> bool:
        """Tell whether layer ``index`` looks at the other branch."""
        return index % 2 == (0 if self.cross_first else 1)

    def _sparse(
        self, config: SparseAttentionConfig | None, *, layer: int
    ) -> SparseAttention | None:
        """Return the sparse attention of a layer; both branches of a level count as layers."""
        if config is None:
            return None
        is_sparse = config.cross_attention if self.is_cross(layer // 2) else config.self_attention
        return SparseAttention(config, layer=layer) if is_sparse else None

    def forward(
        self,
        spectrum: Float[Tensor, "batch width frequency frames"],
        waveform: Float[Tensor, "batch width steps"],
    ) -> tuple[Float[Tensor, "batch width frequency frames"], Float[Tensor, "batch width steps"]]:
        """Exchange information within and between the branches."""
        width, frequencies, frames = spectrum.shape[1:]
        tokens = rearrange(spectrum, "batch width frequency frame -> batch (frame frequency) width")
        grid = sinusoids_2d(
            frequencies, frames, width, max_period=self.max_period, device=spectrum.device
        )
        positions = rearrange(grid, "frequency frame width -> (frame frequency) width")
        tokens = self.spectrum_norm(tokens) + self.position_weight * positions

        steps = rearrange(waveform, "batch width step -> batch step width")
        line = sinusoids_1d(
            steps.shape[1], width, max_period=self.max_period, device=waveform.device
        )
        steps = self.waveform_norm(steps) + self.position_weight * line

        pairs = zip(self.spectrum_layers, self.waveform_layers, strict=True)
        for index, (spectrum_layer, waveform_layer) in enumerate(pairs):
            if self.is_cross(index):
                tokens, steps = spectrum_layer(tokens, steps), waveform_layer(steps, tokens)
            else:
                tokens, steps = spectrum_layer(tokens), waveform_layer(steps)

        return (
            rearrange(
                tokens, "batch (frame frequency) width -> batch width frequency frame",
                frequency=frequencies,
            ),
            rearrange(steps, "batch step width -> batch width step"),
        )  # fmt: skip


class HTDemucs(nn.Module):
    """Hybrid Transformer Demucs; see the module's text for the paper."""

    def __init__(self, config: HTDemucsConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = StftSpec(config.n_fft, config.n_fft // 4)

        channels = [config.hidden_channels * config.growth**level for level in range(config.depth)]
        mixture, stems = config.audio_channels, config.audio_channels * len(config.sources)
        # real and imaginary parts are channels of the spectrum
        self.spectrum_encoder = self._encoder([2 * mixture, *channels], over_frequency=True)
        self.waveform_encoder = self._encoder([mixture, *channels], over_frequency=False)
        self.spectrum_decoder = self._decoder([2 * stems, *channels], over_frequency=True)
        self.waveform_decoder = self._decoder([stems, *channels], over_frequency=False)
        self.frequency_embedding = None
        if share := config.frequency_embedding:
            bins, scale = config.n_fft // 2 // config.stride, config.frequency_embedding_scale
            self.frequency_embedding = FrequencyEmbedding(
                bins, channels[0], scale=scale, share=share
            )
        if config.rescale_reference:
            rescale_initial_weights(self, reference=config.rescale_reference)

        inner, width = config.innermost_channels, config.transformer_width
        self.spectrum_widen = self._change_width(inner, width)
        self.spectrum_narrow = self._change_width(width, inner)
        self.waveform_widen = self._change_width(inner, width)
        self.waveform_narrow = self._change_width(width, inner)
        self.transformer = CrossTransformer(config) if config.transformer_layers else None

    def _encoder(self, channels: list[int], *, over_frequency: bool) -> nn.ModuleList:
        return nn.ModuleList(
            UNetEncoderLayer(
                channels[level],
                channels[level + 1],
                self.config.layer_shape(level, over_frequency=over_frequency, encoder=True),
            )
            for level in range(self.config.depth)
        )

    def _decoder(self, channels: list[int], *, over_frequency: bool) -> nn.ModuleList:
        return nn.ModuleList(
            UNetDecoderLayer(
                channels[level + 1],
                channels[level],
                self.config.layer_shape(level, over_frequency=over_frequency, encoder=False),
                outermost=level == 0,
            )
            for level in reversed(range(self.config.depth))
        )

    def _change_width(self, channels_in: int, channels_out: int) -> nn.Module:
        if not (self.config.bottom_channels and self.config.transformer_layers):
            return nn.Identity()
        return nn.Conv1d(channels_in, channels_out, 1)

    @property
    def spec(self) -> SeparationSpec:
        """What the engine must know."""
        return SeparationSpec.of(
            self.config,
            join=OverlapAdd(0.25),
            statistic=MonoDeviation(),
            fixed_segment=True,
        )

    def input_samples(self, segment_samples: int) -> int:
        """Segments are fed as they are."""
        return segment_samples

    def analyse(self, mixture: Float[Tensor, "batch channels time"]) -> Analysis:
        """Return the normalised spectrum, real and imaginary parts as channels, and waveform.

        In evaluation a mixture that is shorter than the training segment is first filled up
        with zeros on the right: the transformer knows no other number of tokens.
        """
        num_samples = mixture.shape[-1]
        if not self.training:
            mixture = F.pad(mixture, (0, max(0, self.config.segment_samples - num_samples)))
        spectrum = complex_to_channels(aligned_stft(mixture, self.stft))
        levels = SegmentLevels(
            spectrum=item_level(spectrum),
            waveform=item_level(mixture),
            num_samples=num_samples,
            padded_samples=mixture.shape[-1],
        )
        return Analysis(
            inputs=(levels.spectrum.remove(spectrum), levels.waveform.remove(mixture)),
            context=levels,
        )

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the two U-Nets and the transformer on normalised spectrum and waveform.

        Returns (batch, sources x channels x 2, frequency, frames) and
        (batch, sources x channels, time).
        """
        spectrum, waveform = inputs
        outer = zip(self.spectrum_encoder, self.waveform_encoder, strict=True)
        way = descend(spectrum, waveform, outer, embedding=self.frequency_embedding)
        spectrum, waveform = way.spectrum, way.waveform
        if self.transformer is not None:
            spectrum, waveform = self.transformer(
                _on_flat_frequency(self.spectrum_widen, spectrum), self.waveform_widen(waveform)
            )
            spectrum = _on_flat_frequency(self.spectrum_narrow, spectrum)
            waveform = self.waveform_narrow(waveform)
        outer = zip(self.spectrum_decoder, self.waveform_decoder, strict=True)
        return ascend(spectrum, waveform, outer, way=way)

    def synthesise(
        self, outputs: tuple[Tensor, ...], analysis: Analysis
    ) -> Float[Tensor, "batch sources channels time"]:
        """Return the sum of both branches, at the level of the mixture."""
        levels: SegmentLevels = analysis.context
        num_sources = len(self.config.sources)
        # source by source: transforms take several times the memory of what they give
        stems = [
            aligned_istft(
                channels_to_complex(levels.spectrum.restore(spectrum), 1),
                self.stft,
                num_samples=levels.padded_samples,
            )[:, 0]
            + levels.waveform.restore(waveform)
            for spectrum, waveform in zip(
                *(output.chunk(num_sources, dim=1) for output in outputs), strict=True
            )
        ]
        return torch.stack(stems, dim=1)[..., : levels.num_samples]

    def forward(
        self, mixture: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch sources channels time"]:
        """Take ``mixture`` apart."""
        analysis = self.analyse(mixture)
        return self.synthesise(self.core(*analysis.inputs), analysis)


def _on_flat_frequency(layer: nn.Module, spectrum: Tensor) -> Tensor:
    """Apply a 1x1 convolution over time to (batch, channels, frequency, frames)."""
    if isinstance(layer, nn.Identity):
        return spectrum
    frequencies = spectrum.shape[2]
    flat = rearrange(spectrum, "batch channel frequency frame -> batch channel (frequency frame)")
    return rearrange(
        layer(flat), "batch channel (frequency frame) -> batch channel frequency frame",
        frequency=frequencies,
    )  # fmt: skip
