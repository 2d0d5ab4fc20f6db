"""Vocals and accompaniment of separators on the same song, beside the mixture's own figures.

The accompaniment is what the vocals leave: the mixture less their estimate. Figures are SDR as
in the MDX challenges, over the whole song, in dB; with ``--at-rate`` all is compared at that
sample rate, as a network of 22.05 kHz cannot know what is above 11 kHz.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from audiform import Audio, Separator
from audiform.data.layouts import read_tracks
from audiform.data.segments import SegmentDataset
from audiform.data.track import MIXTURE
from audiform.metrics.separation import sdr

VOCALS = "vocals"


def scores(vocals: torch.Tensor, *, of: torch.Tensor, mixture: torch.Tensor) -> dict[str, float]:
    """Return the SDR of the estimate ``vocals`` and of what it leaves of the mixture."""
    return {
        VOCALS: sdr(estimate=vocals, reference=of).item(),
        "accompaniment": sdr(estimate=mixture - vocals, reference=mixture - of).item(),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of songs with stems")
    parser.add_argument("models", nargs="+", help="names or checkpoints")
    parser.add_argument("--only", required=True, help="name of the song")
    parser.add_argument("--at-rate", type=int, default=44100, help="sample rate in Hz")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    track = next(track for track in read_tracks(arguments.data) if track.name == arguments.only)
    rate = arguments.at_rate
    song = SegmentDataset(
        [track], (MIXTURE, VOCALS), sample_rate=rate, audio_channels=2, segment_seconds=1.0
    )
    length = song.track_length_samples(0)
    mixture, vocals = torch.from_numpy(song.read_track(0, start_samples=0, length_samples=length))
    rows = {
        "the mixture": {
            VOCALS: sdr(estimate=mixture, reference=vocals).item(),
            "accompaniment": sdr(estimate=mixture, reference=mixture - vocals).item(),
        }
    }
    for model in arguments.models:
        start = time.process_time()
        found = Separator(model).separate(Audio(mixture, rate))[VOCALS].samples
        rows[model] = scores(found, of=vocals, mixture=mixture)
        rows[model]["seconds"] = time.process_time() - start
    for name, row in rows.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"song": arguments.only, "rows": rows}) + "\n")


if __name__ == "__main__":
    main()
