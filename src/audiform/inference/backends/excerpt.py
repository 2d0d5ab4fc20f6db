"""A few seconds of made-up music, always the same: what backends are compared on.

A choice between backends must not depend on the song that happens to come first.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: Notes of a slow arpeggio over a bass, in Hz.
NOTES_HZ = (220.0, 277.18, 329.63, 440.0, 329.63, 277.18)
BASS_HZ = 55.0
NOTE_SECONDS = 0.35
NUM_HARMONICS = 12


def music(
    *, audio_channels: int, num_samples: int, sample_rate: int
) -> Float[Tensor, "1 audio_channels num_samples"]:
    """Return notes, a bass, beats of noise and a little hiss, of mean 0 and deviation 1."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(num_samples, dtype=torch.float64) / sample_rate
    step = (time / NOTE_SECONDS).long()
    since = time - step * NOTE_SECONDS
    pitch = torch.tensor(NOTES_HZ, dtype=torch.float64)[step % len(NOTES_HZ)]
    orders = torch.arange(1, NUM_HARMONICS + 1, dtype=torch.float64)[:, None]
    notes = (torch.sin(2 * torch.pi * orders * pitch * since) / orders).sum(0) * (-4 * since).exp()
    bass = torch.sin(2 * torch.pi * BASS_HZ * time)
    hiss = torch.randn(audio_channels, num_samples, generator=generator, dtype=torch.float64)
    beats = hiss * (-30 * (since % (2 * NOTE_SECONDS))).exp()
    pan = torch.linspace(0.6, 1.0, audio_channels, dtype=torch.float64)[:, None]
    mixture = pan * notes + pan.flip(0) * bass + 0.7 * beats + 0.02 * hiss
    mixture = mixture - mixture.mean()
    return (mixture / mixture.std().clamp_min(1e-9)).float()[None]
