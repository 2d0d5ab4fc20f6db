"""Short-time Fourier transforms, plain and aligned to the hop.

``stft`` and ``istft`` are an orthonormal pair with a periodic Hann window.
``aligned_stft`` gives exactly ``ceil(time / hop_length)`` frames of ``n_fft / 2`` bins,
frame k standing for the samples [k hop, (k + 1) hop), so that a network of strides can
line it up with the waveform (Hybrid Demucs, arXiv:2111.03600, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor

from audiform.dsp.padding import pad_reflect
from audiform.errors import ConfigError


@dataclass(frozen=True)
class StftSpec:
    """Size and step of a Fourier transform, in samples; the window is as long as the FFT."""

    n_fft: int
    hop_length: int

    def __post_init__(self) -> None:
        if self.n_fft < 2 or self.n_fft % 2 or not 0 < self.hop_length <= self.n_fft // 2:
            raise ConfigError(
                f"n_fft = {self.n_fft} and hop_length = {self.hop_length} cannot be inverted; "
                "choose an even n_fft and a hop_length of at most half of it"
            )

    @property
    def num_bins(self) -> int:
        """Bins from 0 Hz to half the sample rate, both included."""
        return self.n_fft // 2 + 1


def stft(
    audio: Float[Tensor, "*leading time"], spec: StftSpec, *, centred: bool = True
) -> Complex[Tensor, "*leading frequency frames"]:
    """Transform ``audio``; ``centred`` reflects half a window at both ends.

    Scaled by 1 / sqrt(n_fft), so that white noise keeps its variance up to the window.
    A centred transform has ``time // hop_length + 1`` frames.
    """
    flat = audio.reshape(-1, audio.shape[-1])
    window = torch.hann_window(spec.n_fft, dtype=audio.dtype, device=audio.device)
    if centred:
        flat = pad_reflect(flat, spec.n_fft // 2, spec.n_fft // 2)
    spectrum = torch.stft(
        flat,
        spec.n_fft,
        spec.hop_length,
        window=window,
        center=False,
        normalized=True,
        return_complex=True,
    )
    return spectrum.reshape(*audio.shape[:-1], *spectrum.shape[-2:])


def istft(
    spectrum: Complex[Tensor, "*leading frequency frames"], spec: StftSpec, *, num_samples: int
) -> Float[Tensor, "*leading time"]:
    """Invert a centred :func:`stft` to ``num_samples`` samples."""
    flat = spectrum.reshape(-1, *spectrum.shape[-2:])
    window = torch.hann_window(spec.n_fft, dtype=flat.real.dtype, device=flat.device)
    audio = torch.istft(
        flat,
        spec.n_fft,
        spec.hop_length,
        window=window,
        center=True,
        normalized=True,
        length=num_samples,
    )
    return audio.reshape(*spectrum.shape[:-2], num_samples)


def aligned_stft(
    audio: Float[Tensor, "*leading time"], spec: StftSpec, *, zeros_beyond: bool = False
) -> Complex[Tensor, "*leading frequency frames"]:
    """Transform to ``ceil(time / hop_length)`` frames without the highest bin.

    The hop must be a quarter of the FFT. The ends are reflected by 1.5 hops, the right one
    after padding to a whole number of hops; ``zeros_beyond`` puts zeros there instead.
    """
    _require_quarter_hop(spec)
    num_frames = -(-audio.shape[-1] // spec.hop_length)
    edge = 3 * spec.hop_length // 2
    right = edge + num_frames * spec.hop_length - audio.shape[-1]
    padded = F.pad(audio, (edge, right)) if zeros_beyond else pad_reflect(audio, edge, right)
    return stft(padded, spec, centred=False)[..., :-1, :]


def aligned_istft(
    spectrum: Complex[Tensor, "*leading frequency frames"],
    spec: StftSpec,
    *,
    num_samples: int,
    late: bool = False,
) -> Float[Tensor, "*leading time"]:
    """Invert :func:`aligned_stft` to ``num_samples`` samples; the highest bin is zero.

    Beyond the first and last frame silence is assumed and counted in the window's
    normalisation, as in the published Hybrid Demucs, whose weights expect it. ``late`` leaves
    the 1.5 hops before the signal in place, so that it comes late by as much.
    """
    _require_quarter_hop(spec)
    edge = 3 * spec.hop_length // 2
    num_frames = -(-num_samples // spec.hop_length)
    padded = F.pad(spectrum, (2, 2, 0, 1))
    if late:
        return istft(padded, spec, num_samples=num_frames * spec.hop_length)[..., :num_samples]
    whole = istft(padded, spec, num_samples=num_frames * spec.hop_length + 2 * edge)
    return whole[..., edge : edge + num_samples]


def _require_quarter_hop(spec: StftSpec) -> None:
    if spec.n_fft != 4 * spec.hop_length:
        raise ConfigError(
            f"an aligned transform needs hop_length = n_fft / 4, found n_fft = {spec.n_fft} and "
            f"hop_length = {spec.hop_length}; choose hop_length = {spec.n_fft // 4}"
        )
