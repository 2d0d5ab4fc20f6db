"""Recordings that went through a narrow band must not teach that their treble is missing.

A voice that ends at 9 kHz below cymbals that do not says that treble is never voice. So all of a
mixture is cut where the first of its stems ends.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data.segments import SegmentDataset
from audiform.dsp.band_end import band_end_hz

#: So much of a stem's middle is listened to.
HEARD_SECONDS = 60.0

#: The filter that made a wall has begun to fall at this share of its frequency.
FALL_SHARE = 0.94


def band_ends(dataset: SegmentDataset, track_index: int) -> dict[str, float]:
    """Return for each source of a track the frequency in Hz to cut at, infinite for most."""
    length = dataset.track_length_samples(track_index)
    heard = min(length, round(HEARD_SECONDS * dataset.sample_rate))
    middle = dataset.read_track(
        track_index, start_samples=(length - heard) // 2, length_samples=heard
    )
    return {
        source: FALL_SHARE * band_end_hz(torch.from_numpy(stem), sample_rate=dataset.sample_rate)
        for source, stem in zip(dataset.sources, middle, strict=True)
    }


def cut_above(
    audio: Float[Tensor, "*leading time"], *, cutoff_hz: float, sample_rate: int
) -> Float[Tensor, "*leading time"]:
    """Return ``audio`` without anything above ``cutoff_hz``."""
    if cutoff_hz >= sample_rate / 2.0:
        return audio
    spectrum = torch.fft.rfft(audio)
    spectrum[..., 1 + int(cutoff_hz * audio.shape[-1] / sample_rate) :] = 0.0
    return torch.fft.irfft(spectrum, n=audio.shape[-1])
