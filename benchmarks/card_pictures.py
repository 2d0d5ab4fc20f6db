"""A picture of what a separator makes of a few seconds: mixture, true stem and estimate.

python benchmarks/card_pictures.py MODEL SONGS --song NAME --stem vocals --start 60 OUT.png

Three mel spectrograms above each other, all on one scale of 70 dB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiform import Audio, Separator
from audiform.data.layouts import read_tracks
from audiform.data.segments import SegmentDataset
from audiform.data.track import MIXTURE
from audiform.evaluation.png import encode_png
from audiform.metrics.bleed import MelBands

SAMPLE_RATE = 44100
N_FFT, HOP_LENGTH, NUM_BANDS = 4096, 441, 110

RANGE_DB = 70.0

#: Pixels of a band, and between two spectrograms.
BAND_HEIGHT, GAP_HEIGHT = 2, 6


def mel_levels(samples: Tensor) -> Tensor:
    """Return the levels of (channels, time) in dB, (bands, frames)."""
    bands = MelBands.spread(sample_rate=SAMPLE_RATE, n_fft=N_FFT, num_bands=NUM_BANDS)
    padded = torch.nn.functional.pad(samples.mean(0), (N_FFT // 2, N_FFT // 2))
    frames = padded.unfold(-1, N_FFT, HOP_LENGTH) * torch.hann_window(N_FFT)
    return 10.0 * bands(torch.fft.rfft(frames).abs().square().T).clamp(min=1e-12).log10()


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("songs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--song", required=True)
    parser.add_argument("--stem", default="vocals")
    parser.add_argument("--start", type=float, default=60.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    track = next(track for track in read_tracks(arguments.songs) if track.name == arguments.song)
    song = SegmentDataset(
        [track],
        (MIXTURE, arguments.stem),
        sample_rate=SAMPLE_RATE,
        audio_channels=2,
        segment_seconds=1.0,
    )
    length = song.track_length_samples(0)
    mixture, truth = torch.from_numpy(song.read_track(0, start_samples=0, length_samples=length))
    found = Separator(arguments.model).separate(Audio(mixture, SAMPLE_RATE))[arguments.stem]
    shown = slice(
        *(round(at * SAMPLE_RATE) for at in (arguments.start, arguments.start + arguments.seconds))
    )
    levels = [mel_levels(sound[:, shown]) for sound in (mixture, truth, found.samples)]
    top = torch.stack(levels).max()
    panels = []
    for level in levels:
        shades = ((level - top) / RANGE_DB + 1).clamp(0, 1) * 255
        upright = shades.flip(0).round().to(torch.uint8).numpy().repeat(BAND_HEIGHT, axis=0)
        panels += [upright, np.full((GAP_HEIGHT, upright.shape[1]), 255, np.uint8)]
    arguments.out.write_bytes(encode_png(np.concatenate(panels[:-1])))


if __name__ == "__main__":
    main()
