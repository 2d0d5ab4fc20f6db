"""BandSplit: a small separator that reads a spectrogram as a few dozen bands.

The spectrum is cut into bands, narrow at the bottom and wide at the top. Each band of each
frame becomes one vector; blocks mix the vectors along time (a depthwise convolution and
self-attention, or a bidirectional LSTM) and across bands (self-attention); each band has a
small head that turns its vector back into a mask per source, channel and bin. The masks of
the sources are a softmax, so the stems sum to the mixture.

Splitting into bands follows Y. Luo and J. Yu, "Music Source Separation with Band-Split RNN",
2022 (https://arxiv.org/abs/2209.15174), attention across bands W.-T. Lu et al., "Music Source
Separation with Band-Split RoPE Transformer", 2023 (https://arxiv.org/abs/2309.02612).
Differences from both: one network for all sources; real masks that sum to one instead of free
complex ones; magnitudes of left, right, middle and side as features instead of complex bins;
no position encoding besides the convolution along time.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Complex, Float
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.dsp.level import MonoDeviation
from audiform.dsp.stft import StftSpec, istft, stft
from audiform.protocols import Analysis, CentreCrop, SeparationSpec

#: Magnitudes are raised to this power before the network sees them, so that quiet bins count.
COMPRESSION = 0.3

#: Added to squared magnitudes: the derivative of the power stays finite in silence.
POWER_FLOOR = 1e-7


class BandSplitConfig(BaseModel):
    """Hyper-parameters of :class:`BandSplit`.

    - ``fine_bins``: so many bins from the bottom have features and masks of their own; above,
      ``coarse_width`` neighbours share them (None: all have their own). A *row* is either.
    - ``bands``: (width in rows, how many) from the bottom up; what is left is the last band.
    - ``frames_per_token``: neighbouring frames that share a vector (their masks are apart).
    - ``hidden_channels``: length of a band's vector; ``num_blocks``: pairs of mixing along time
      and across bands.
    - ``time_mixer``: what mixes along time.
    - ``segment_seconds``, ``context_seconds``, ``fade_seconds``: how a track is cut: the
      network sees the context at both sides of a segment, and neighbours are cross-faded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    sample_rate: PositiveInt = 44100
    audio_channels: Literal[2] = 2
    n_fft: PositiveInt = 4096
    hop_length: PositiveInt = 1024
    fine_bins: PositiveInt | None = None
    coarse_width: PositiveInt = 4
    bands: tuple[tuple[PositiveInt, PositiveInt], ...] = ((10, 10), (24, 12), (78, 5), (155, 5))
    frames_per_token: PositiveInt = 2
    hidden_channels: PositiveInt = 96
    num_blocks: PositiveInt = 3
    num_heads: PositiveInt = 2
    time_mixer: Literal["attention", "lstm"] = "attention"
    kernel_frames: PositiveInt = 7
    feed_forward_ratio: PositiveInt = 3
    head_ratio: PositiveInt = 2
    segment_seconds: float = 10.0
    context_seconds: float = 1.0
    fade_seconds: float = 0.1

    @model_validator(mode="after")
    def _check(self) -> BandSplitConfig:
        if self.hidden_channels % self.num_heads:
            raise ValueError(
                f"hidden_channels {self.hidden_channels} must be a multiple of "
                f"num_heads {self.num_heads}"
            )
        if sum(width * count for width, count in self.bands) >= self.num_rows:
            raise ValueError(f"bands exceed the {self.num_rows} rows; the last one takes the rest")
        return self

    @property
    def stft(self) -> StftSpec:
        """The Fourier transform that the network works on."""
        return StftSpec(n_fft=self.n_fft, hop_length=self.hop_length)

    @property
    def num_bins(self) -> int:
        """Bins of the spectrum, 0 Hz and the highest included."""
        return self.n_fft // 2 + 1

    @property
    def num_fine(self) -> int:
        """Bins that share their features and masks with no other."""
        return self.num_bins if self.fine_bins is None else min(self.fine_bins, self.num_bins)

    @property
    def num_rows(self) -> int:
        """What the network sees and masks: single bins, and groups of them above."""
        return self.num_fine + -(-(self.num_bins - self.num_fine) // self.coarse_width)

    @property
    def band_widths(self) -> list[int]:
        """Width of every band in rows; they add up to ``num_rows``."""
        widths = [width for width, count in self.bands for _ in range(count)]
        return [*widths, self.num_rows - sum(widths)]


class SelfAttention(nn.Module):
    """Residual self-attention over the second-last axis, normalised before."""

    def __init__(self, hidden_channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(hidden_channels)
        self.to_qkv = nn.Linear(hidden_channels, 3 * hidden_channels, bias=False)
        self.to_out = nn.Linear(hidden_channels, hidden_channels)

    def forward(self, x: Float[Tensor, "batch length hidden"]) -> Tensor:
        """Return ``x`` plus what each place takes from all others."""
        q, k, v = rearrange(
            self.to_qkv(self.norm(x)),
            "batch length (three head channel) -> three batch head length channel",
            three=3,
            head=self.num_heads,
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.to_out(
            rearrange(mixed, "batch head length channel -> batch length (head channel)")
        )


class FeedForward(nn.Module):
    """Residual two-layer perceptron, normalised before."""

    def __init__(self, hidden_channels: int, ratio: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_channels)
        self.expand = nn.Linear(hidden_channels, ratio * hidden_channels)
        self.contract = nn.Linear(ratio * hidden_channels, hidden_channels)

    def forward(self, x: Float[Tensor, "*leading hidden"]) -> Tensor:
        """Return ``x`` plus a function of each vector alone."""
        return x + self.contract(F.gelu(self.expand(self.norm(x)), approximate="tanh"))


class TimeConvolution(nn.Module):
    """Residual depthwise convolution along the second-last axis: near past and future."""

    def __init__(self, hidden_channels: int, kernel_frames: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_channels)
        self.convolution = nn.Conv1d(
            hidden_channels,
            hidden_channels,
            kernel_frames,
            padding=kernel_frames // 2,
            groups=hidden_channels,
        )
        self.to_out = nn.Linear(hidden_channels, hidden_channels)

    def forward(self, x: Float[Tensor, "batch length hidden"]) -> Tensor:
        """Return ``x`` plus what each place takes from its neighbours."""
        mixed = self.convolution(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.to_out(F.silu(mixed))


class TimeRecurrence(nn.Module):
    """Residual bidirectional LSTM along the second-last axis."""

    def __init__(self, hidden_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_channels)
        self.recurrence = nn.LSTM(
            hidden_channels, hidden_channels, batch_first=True, bidirectional=True
        )
        self.to_out = nn.Linear(2 * hidden_channels, hidden_channels)

    def forward(self, x: Float[Tensor, "batch length hidden"]) -> Tensor:
        """Return ``x`` plus what was carried there from both directions."""
        return x + self.to_out(self.recurrence(self.norm(x))[0])


class BandSplitBlock(nn.Module):
    """Mixing along time within each band, then across the bands of each frame."""

    def __init__(self, config: BandSplitConfig) -> None:
        super().__init__()
        hidden = config.hidden_channels
        if config.time_mixer == "lstm":
            self.along_time = nn.Sequential(TimeRecurrence(hidden))
        else:
            self.along_time = nn.Sequential(
                TimeConvolution(hidden, config.kernel_frames),
                SelfAttention(hidden, config.num_heads),
                FeedForward(hidden, config.feed_forward_ratio),
            )
        self.across_bands = nn.Sequential(
            SelfAttention(hidden, config.num_heads),
            FeedForward(hidden, config.feed_forward_ratio),
        )

    def forward(self, x: Float[Tensor, "batch band frame hidden"]) -> Tensor:
        """Return ``x``, mixed; the shape is kept."""
        batch = x.shape[0]
        x = self.along_time(rearrange(x, "batch band frame hidden -> (batch band) frame hidden"))
        x = rearrange(x, "(batch band) frame hidden -> (batch frame) band hidden", batch=batch)
        x = self.across_bands(x)
        return rearrange(x, "(batch frame) band hidden -> batch band frame hidden", batch=batch)


class BandSplit(nn.Module):
    """Four-stem separator on masks; see the module's text.

    Wants mixtures normalised by the mean and deviation of the whole track
    (:class:`audiform.dsp.level.MonoDeviation`); the engine does that.
    """

    def __init__(self, config: BandSplitConfig | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else BandSplitConfig()
        config = self.config
        hidden, widths = config.hidden_channels, config.band_widths
        # Left, right, middle, side.
        self.embed = nn.ModuleList(
            nn.Linear(4 * width * config.frames_per_token, hidden) for width in widths
        )
        self.band_position = nn.Parameter(torch.zeros(len(widths), 1, hidden))
        self.blocks = nn.ModuleList(BandSplitBlock(config) for _ in range(config.num_blocks))
        masks = config.frames_per_token * len(config.sources) * config.audio_channels
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden),
                nn.Linear(hidden, config.head_ratio * hidden),
                nn.GELU(approximate="tanh"),
                nn.Linear(config.head_ratio * hidden, masks * width),
            )
            for width in widths
        )

    @property
    def spec(self) -> SeparationSpec:
        """What the engine must know."""
        config = self.config
        return SeparationSpec(
            sample_rate=config.sample_rate,
            audio_channels=config.audio_channels,
            sources=config.sources,
            segment_samples=round(config.segment_seconds * config.sample_rate),
            join=CentreCrop(
                context_samples=round(config.context_seconds * config.sample_rate),
                fade_samples=round(config.fade_seconds * config.sample_rate),
            ),
            statistic=MonoDeviation(),
        )

    def input_samples(self, segment_samples: int) -> int:
        """Return ``segment_samples`` and the context on both sides."""
        return segment_samples + 2 * round(self.config.context_seconds * self.config.sample_rate)

    def analyse(self, mixture: Float[Tensor, "batch channels time"]) -> Analysis:
        """Return the features and, as context, the mixture's spectrum and length.

        The one input of ``core`` holds the compressed magnitudes of left, right, middle and
        side: (batch, 4, rows, frames).
        """
        spectrum = stft(mixture, self.config.stft)
        inputs = (features(spectrum, self.config),)
        return Analysis(inputs=inputs, context=(spectrum, mixture.shape[-1]))

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the masks: (batch, sources, channels, rows, frames), summing to one."""
        (magnitudes,) = inputs
        config = self.config
        num_frames = magnitudes.shape[-1]
        x = rearrange(
            F.pad(magnitudes, (0, -num_frames % config.frames_per_token)),
            "batch view bin (token frame) -> batch token frame view bin",
            frame=config.frames_per_token,
        )
        vectors = [
            embed(rearrange(band, "batch token frame view bin -> batch token (frame view bin)"))
            for embed, band in zip(self.embed, x.split(config.band_widths, dim=-1), strict=True)
        ]
        hidden = torch.stack(vectors, dim=1) + self.band_position
        for block in self.blocks:
            hidden = block(hidden)
        logits = [
            rearrange(
                head(hidden[:, index]),
                "batch token (frame source channel bin) -> batch source channel bin (token frame)",
                frame=config.frames_per_token,
                source=len(config.sources),
                channel=config.audio_channels,
            )
            for index, head in enumerate(self.heads)
        ]
        masks = torch.cat(logits, dim=-2)[..., :num_frames].float().softmax(dim=1)
        return (masks,)

    def synthesise(
        self, outputs: tuple[Tensor, ...], analysis: Analysis
    ) -> Float[Tensor, "batch sources channels time"]:
        """Apply the masks to the mixture's spectrum and return to audio of its length."""
        (masks,) = outputs
        spectrum, length = analysis.context
        stems = bins_of(masks, self.config) * spectrum[:, None]
        return istft(stems, self.config.stft, num_samples=length)

    def forward(
        self, mixture: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch sources channels time"]:
        """Return the stems of a normalised mixture; they sum to it."""
        analysis = self.analyse(mixture)
        return self.synthesise(self.core(*analysis.inputs), analysis)


def features(
    spectrum: Complex[Tensor, "batch 2 bin frame"], config: BandSplitConfig
) -> Float[Tensor, "batch 4 row frame"]:
    """Return compressed magnitudes of left, right, middle and side; of a coarse row, the mean."""
    power = rows_of(
        squared(_views(spectrum.real.contiguous()), _views(spectrum.imag.contiguous())), config
    )
    if config.num_fine < config.num_bins:
        power[..., config.num_fine :, :] /= config.coarse_width
    return (power + POWER_FLOOR) ** (COMPRESSION / 2)


def _views(values: Float[Tensor, "batch 2 bin frame"]) -> Float[Tensor, "batch 4 bin frame"]:
    left, right = values[:, 0], values[:, 1]
    return torch.stack([left, right, (left + right) / 2, (left - right) / 2], dim=1)


def squared(real: Tensor, imaginary: Tensor) -> Tensor:
    """Return the squared magnitude of numbers given by their parts."""
    return torch.addcmul(real.square(), imaginary, imaginary)


def rows_of(
    values: Float[Tensor, "*leading bin frame"], config: BandSplitConfig
) -> Float[Tensor, "*leading row frame"]:
    """Return the sums over the bins of each row."""
    if config.num_fine == config.num_bins:
        return values
    fine, coarse = values.split([config.num_fine, config.num_bins - config.num_fine], dim=-2)
    missing = -coarse.shape[-2] % config.coarse_width
    whole = F.pad(coarse, (0, 0, 0, missing)) if missing else coarse
    # adding slices is several times faster than a sum over an inner dimension
    parts = whole.unflatten(-2, (-1, config.coarse_width)).unbind(dim=-2)
    return torch.cat([fine, sum(parts[1:], start=parts[0])], dim=-2)


def bins_of(
    rows: Float[Tensor, "*leading row frame"], config: BandSplitConfig
) -> Float[Tensor, "*leading bin frame"]:
    """Give each bin what its row has."""
    if config.num_fine == config.num_bins:
        return rows
    fine, coarse = rows.split([config.num_fine, config.num_rows - config.num_fine], dim=-2)
    spread = coarse.repeat_interleave(config.coarse_width, dim=-2)
    return torch.cat([fine, spread[..., : config.num_bins - config.num_fine, :]], dim=-2)
