"""Onset strength: how much louder a sound has just become, frame by frame.

Spectral flux of compressed magnitudes, J. P. Bello et al., "A Tutorial on Onset Detection in
Music Signals" (2005), section III-A. Differs from it in comparing the compressed power of
bands, which are wider towards the treble, so that a hi-hat does not outweigh a kick drum.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

#: Edges of the bands, which are an octave wide above the first.
FIRST_EDGE_HZ = 100.0


def onset_strength(
    audio: Float[Tensor, "channels time"],
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    floor_db: float = -60.0,
) -> Float[Tensor, "frames bands"]:
    """Return ``time // hop_length + 1`` frames of values >= 0, frame k centred on sample k hop.

    Each is the rise in level (natural logarithm) of a band against the frame half a window
    earlier; what is ``floor_db`` below the loudest band and frame hardly counts. An attack
    shows when it has reached the middle of the window. The first band ends at 100 Hz, each
    further one is an octave.
    """
    half = n_fft // 2
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
    frames = F.pad(audio, (half, half)).unfold(-1, n_fft, hop_length)
    spectrum = torch.fft.rfft(frames * window)
    power = (spectrum.real.square() + spectrum.imag.square()).sum(dim=0)
    bands = power @ _bands(half + 1, sample_rate).to(power)
    floor = 10.0 ** (floor_db / 10.0) * bands.max().clamp(min=1e-20)
    level = (bands / floor).log1p()
    lag = max(1, half // hop_length)
    earlier = F.pad(level, (0, 0, lag, 0))[: len(level)]
    return (level - earlier).clamp(min=0.0)


def pick_onsets(
    strength: Float[Tensor, " frames"], *, min_gap_frames: int, threshold: float
) -> Int[Tensor, " onsets"]:
    """Return the frames whose strength is the largest within the gap and above ``threshold``."""
    width = 2 * min_gap_frames + 1
    largest = F.max_pool1d(strength[None, None], width, 1, min_gap_frames)[0, 0]
    found = ((strength == largest) & (strength > threshold)).nonzero()[:, 0]
    if len(found) < 2:
        return found
    apart = F.pad(found.diff(), (1, 0), value=min_gap_frames + 1) > min_gap_frames
    return found[apart]


def _bands(num_bins: int, sample_rate: int) -> Float[Tensor, "bins bands"]:
    """Return one column per octave, 1 where a bin belongs to it."""
    frequency = torch.linspace(0.0, sample_rate / 2, num_bins)
    octave = (frequency.clamp(min=1.0) / FIRST_EDGE_HZ).log2().floor().clamp(min=-1).long() + 1
    return F.one_hot(octave).float()
