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

#: Power relative to the loudest band and frame below which a change does not count (-60 dB).
POWER_FLOOR = 1e-6

#: Edges of the bands, which are an octave wide above the first.
FIRST_EDGE_HZ = 100.0


def onset_strength(
    audio: Float[Tensor, "channels time"], *, sample_rate: int, n_fft: int, hop_length: int
) -> Float[Tensor, " frames"]:
    """Return ``time // hop_length + 1`` values >= 0, frame k centred on sample k hop.

    Each is the rise in level (natural logarithm, summed over bands) against the frame half a
    window earlier. An attack shows when it has reached the middle of the window.
    """
    half = n_fft // 2
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
    frames = F.pad(audio, (half, half)).unfold(-1, n_fft, hop_length)
    spectrum = torch.fft.rfft(frames * window)
    power = (spectrum.real.square() + spectrum.imag.square()).sum(dim=0)
    bands = power @ _bands(half + 1, sample_rate).to(power)
    floor = POWER_FLOOR * bands.max().clamp(min=1e-20)
    level = (bands / floor).log1p()
    lag = max(1, half // hop_length)
    earlier = F.pad(level, (0, 0, lag, 0))[: len(level)]
    return (level - earlier).clamp(min=0.0).sum(dim=-1)


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
