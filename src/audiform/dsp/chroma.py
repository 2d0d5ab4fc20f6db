"""How a sound's energy is spread over the twelve pitch classes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

#: Seconds of the window: partials a semitone apart at the lowest frequency are two bins apart.
WINDOW_SECONDS = 0.37
LOWEST_HZ = 100.0
HIGHEST_HZ = 2000.0
CONCERT_PITCH_HZ = 440.0


def chroma(audio: Float[Tensor, "channels time"], *, sample_rate: int) -> Float[Tensor, " 12"]:
    """Return the distribution over C, C#, ... B; it sums to 1, or is 0 for silence.

    Amplitudes of spectral peaks between 100 and 2000 Hz, each frame at its own level, so that
    a quiet verse counts as much as it is quiet. Tuned to A = 440 Hz.
    """
    n_fft = 2 ** round(math.log2(WINDOW_SECONDS * sample_rate))
    missing = max(0, n_fft - audio.shape[-1])
    frames = F.pad(audio, (0, missing)).unfold(-1, n_fft, n_fft // 2)
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
    frequency = torch.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    first, last = (int(hz * n_fft / sample_rate) for hz in (LOWEST_HZ, HIGHEST_HZ))
    classes = _classes(frequency[first:last])
    total = audio.new_zeros(12)
    for frame in frames.unbind(dim=1):
        spectrum = torch.fft.rfft(frame * window)[:, first - 1 : last + 1]
        amplitude = spectrum.abs().square().sum(dim=0).sqrt()
        middle = amplitude[1:-1]
        peaks = (middle >= amplitude[:-2]) & (middle > amplitude[2:])
        total += (middle * peaks) @ classes.to(middle)
    return total / total.sum().clamp(min=1e-20) if total.sum() > 1e-6 else torch.zeros_like(total)


def _classes(frequency_hz: Float[Tensor, " bins"]) -> Float[Tensor, "bins 12"]:
    """Return by how much each bin belongs to each class: a raised cosine a semitone to a side."""
    note = 12.0 * (frequency_hz / CONCERT_PITCH_HZ).log2() + 9.0
    distance = (note[:, None] - torch.arange(12) + 6.0) % 12.0 - 6.0
    return torch.cos(math.pi / 2 * distance.clamp(-1.0, 1.0)).square()
