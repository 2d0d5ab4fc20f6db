"""Separation by masks on magnitudes: what such networks share on either side of the network.

The network sees magnitudes in [0, 1] and gives masks; each stem is the mixture's spectrum,
phase included, times a mask.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Complex, Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.dsp.spectral_peak import SpectralPeak
from audiform.dsp.stft import StftSpec, istft, stft
from audiform.dsp.vocal_free import VocalFreeConfig, open_vocal_free
from audiform.nn.frame_unet import FrameTrunk, TrunkFeatures
from audiform.protocols import Analysis, CentreCrop, SeparationSpec

#: Magnitudes below this, 120 dB under the loudest, are compressed as this one is.
QUIETEST = 1e-6


class MagnitudeMaskConfig(BaseModel):
    """Audio, spectrum and segments of a network that masks magnitudes.

    - ``rest_source``: of two sources, the second is what the mask of the first leaves; without
      it each source has a mask of its own, and stems do not sum to the mixture.
    - ``segment_frames`` are kept of each run of the network, which sees ``context_frames`` of
      the track more on either side; neighbours are cross-faded over ``fade_frames``.
    - ``compression``: the network sees magnitudes to this power; below one, quiet bins count.
    - ``vocal_free``: the first source is the whole mixture where the second one is silent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = Field(("instrumental", "vocals"), min_length=1)
    rest_source: bool = True
    audio_channels: PositiveInt = 2
    sample_rate: PositiveInt = 44100
    n_fft: int = Field(2048, ge=16, multiple_of=2)
    hop_length: PositiveInt = 1024
    segment_frames: PositiveInt = 256
    context_frames: int = Field(128, ge=0)
    fade_frames: int = Field(2, ge=0)
    compression: float = Field(1.0, gt=0.0, le=1.0)
    vocal_free: VocalFreeConfig | None = None

    @model_validator(mode="after")
    def _masks_make_sense(self) -> MagnitudeMaskConfig:
        if self.rest_source and len(self.sources) != 2:
            raise ValueError(
                f"rest_source takes one of two sources from the mask of the other, and there are "
                f"{len(self.sources)}; set rest_source to false"
            )
        if self.vocal_free is not None and not self.rest_source:
            raise ValueError("vocal_free needs rest_source: which mask is that of the vocals?")
        if self.vocal_free is not None and self.context_frames < self.vocal_free.context_frames:
            raise ValueError(
                f"vocal_free has to see {self.vocal_free.context_frames} frames beyond a segment, "
                f"and context_frames is {self.context_frames}; raise it"
            )
        return self

    @property
    def stft(self) -> StftSpec:
        """The Fourier transform that the network works on."""
        return StftSpec(n_fft=self.n_fft, hop_length=self.hop_length)

    @property
    def num_bins(self) -> int:
        """Bins that the network sees: all but the highest."""
        return self.n_fft // 2

    @property
    def num_masks(self) -> int:
        """Masks that the network gives."""
        return 1 if self.rest_source else len(self.sources)


class MaskHead(nn.Module):
    """The channels of each bin into masks in (0, 1), one for each source and audio channel."""

    def __init__(self, channels: int, config: MagnitudeMaskConfig) -> None:
        super().__init__()
        self.num_masks = config.num_masks
        self.to_masks = nn.Linear(channels, config.num_masks * config.audio_channels)

    def forward(
        self, features: Float[Tensor, "batch frame bin channel"]
    ) -> Float[Tensor, "batch mask audio_channel bin frame"]:
        """Return the masks."""
        return rearrange(
            torch.sigmoid(self.to_masks(features).float()),
            "batch frame bin (mask channel) -> batch mask channel bin frame",
            mask=self.num_masks,
        )


class MagnitudeMaskModel(nn.Module):
    """The steps around a network that masks magnitudes.

    ``trunk`` takes magnitudes (batch, frame, bin, channel) to features, ``head`` the last of
    these to masks. Wants mixtures whose largest magnitude over the
    whole track is one (:class:`audiform.dsp.spectral_peak.SpectralPeak`); the engine does that.
    """

    def __init__(self, config: MagnitudeMaskConfig, *, trunk: FrameTrunk, head: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.trunk = trunk
        self.head = head

    @property
    def last_channels(self) -> int:
        """Channels of the features that the masks are made of."""
        return self.trunk.last_channels

    @property
    def deepest_channels(self) -> int:
        """Channels of the deepest features."""
        return self.trunk.deepest_channels

    @property
    def spec(self) -> SeparationSpec:
        """What the engine must know."""
        config = self.config
        return SeparationSpec(
            sample_rate=config.sample_rate,
            audio_channels=config.audio_channels,
            sources=config.sources,
            segment_samples=config.segment_frames * config.hop_length,
            join=CentreCrop(
                context_samples=config.context_frames * config.hop_length,
                fade_samples=config.fade_frames * config.hop_length,
            ),
            statistic=SpectralPeak(config.stft),
        )

    def input_samples(self, segment_samples: int) -> int:
        """Return ``segment_samples`` and the context on both sides."""
        return segment_samples + 2 * self.config.context_frames * self.config.hop_length

    def analyse(self, mixture: Float[Tensor, "batch channels time"]) -> Analysis:
        """Return the magnitudes, at most one and without the highest bin, for ``core``.

        The context is the mixture's spectrum and length.
        """
        spectrum = stft(mixture, self.config.stft)
        magnitudes = spectrum[..., :-1, :].abs().clamp(max=1.0)
        return Analysis(inputs=(magnitudes,), context=(spectrum, mixture.shape[-1]))

    def core(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the masks: (batch, masks, channels, bins, frames), in (0, 1)."""
        (magnitudes,) = inputs
        return (self.head(self.features(magnitudes).last),)

    def features(self, magnitudes: Float[Tensor, "batch channel bin frame"]) -> TrunkFeatures:
        """Return what the masks are made of, and the deepest features."""
        if self.config.compression < 1.0:
            # away from zero, where a root has no finite derivative
            magnitudes = magnitudes.clamp(min=QUIETEST).pow(self.config.compression)
        frames = rearrange(magnitudes, "batch channel bin frame -> batch frame bin channel")
        return self.trunk(frames.contiguous())

    def synthesise(
        self, outputs: tuple[Tensor, ...], analysis: Analysis
    ) -> Float[Tensor, "batch sources channels time"]:
        """Apply the masks to the mixture's spectrum and return to audio of its length."""
        length = analysis.context[1]
        return istft(self.masked(outputs, analysis), self.config.stft, num_samples=length)

    def masked(
        self, outputs: tuple[Tensor, ...], analysis: Analysis
    ) -> Complex[Tensor, "batch sources channels bins frames"]:
        """Return the spectra of the stems: the mixture's times the masks.

        The highest bin gets the mask of its neighbour.
        """
        (masks,) = outputs
        spectrum = analysis.context[0]
        masks = torch.cat([masks, masks[..., -1:, :]], dim=-2)
        if self.config.vocal_free is not None:
            masks = open_vocal_free(masks, self.config.vocal_free)
        if self.config.rest_source:
            masks = torch.cat([masks, 1 - masks], dim=1)
        return masks * spectrum[:, None]

    def forward(
        self, mixture: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch sources channels time"]:
        """Return the stems of a normalised mixture."""
        analysis = self.analyse(mixture)
        return self.synthesise(self.core(*analysis.inputs), analysis)
