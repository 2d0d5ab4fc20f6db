"""The largest magnitude in the spectrogram of a whole track, gathered block by block."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.level import Normalisation
from audiform.dsp.stft import StftSpec, stft

#: A track whose spectrum nowhere exceeds this is silence and keeps its level.
SILENT_PEAK = 1e-7


@dataclass(frozen=True)
class SpectralPeak:
    """For networks that want magnitudes in [0, 1]: scale = the largest of all channels and bins.

    Frames begin at every multiple of the hop, the first one half a window before the track;
    beyond both ends is silence. Immutable (:class:`audiform.protocols.TrackStatistic`).
    """

    stft: StftSpec
    peak: float = 0.0
    rest: Float[Tensor, "channels time"] | None = field(default=None, compare=False)

    def update(self, block: Float[Tensor, "channels time"]) -> SpectralPeak:
        """Return the statistic with ``block`` taken in."""
        half = self.stft.n_fft // 2
        rest = F.pad(block[:, :0], (half, 0)) if self.rest is None else self.rest
        audio = torch.cat([rest, block], dim=-1)
        num_frames = max(0, (audio.shape[-1] - self.stft.n_fft) // self.stft.hop_length + 1)
        if num_frames == 0:
            return SpectralPeak(self.stft, self.peak, audio)
        used = (num_frames - 1) * self.stft.hop_length + self.stft.n_fft
        peak = stft(audio[:, :used], self.stft, centred=False).abs().max().item()
        left = audio[:, num_frames * self.stft.hop_length :].clone()
        return SpectralPeak(self.stft, max(self.peak, peak), left)

    def normalisation(self) -> Normalisation:
        """Return scale = peak, 1 for silence; what was taken in counts to its last sample."""
        peak = self.peak
        if self.rest is not None:
            last = F.pad(self.rest, (0, self.stft.n_fft))
            peak = max(peak, stft(last, self.stft, centred=False).abs().max().item())
        return Normalisation(scale=peak if peak > SILENT_PEAK else 1.0)
