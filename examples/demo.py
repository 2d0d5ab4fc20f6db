"""A real song into stems with the model in the package, and how good they are.

Run it with ``make demo``, or ``python examples/demo.py [SONG]`` for a song of your own (then
there is nothing to score against).
"""

from __future__ import annotations

import sys
from pathlib import Path

import audiform
from audiform.io import read
from audiform.metrics.separation import sdr

HERE = Path(__file__).parent
EXAMPLE = HERE / "everything_is_free"
OUT = HERE.parent / "demo-output"


def main() -> None:
    """Separate, then print where the stems are and how they score."""
    song = Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLE / "mixture.flac"
    separator = audiform.Separator("default")
    print(f"separating {song.name} with {separator.name!r} on {separator.device.device} ...")
    paths = separator.separate_to_files(song, OUT)
    mixture = read(song).samples
    true_stems = song.parent == EXAMPLE
    if true_stems:
        print(f"{'stem':8} {'SDR':>8} {'the mixture as its own estimate':>34}")
    for name, path in paths.items():
        if not true_stems:
            print(f"{name:8} {path}")
            continue
        truth = read(EXAMPLE / f"{name}.flac").samples
        score = sdr(estimate=read(path).samples, reference=truth)
        floor = sdr(estimate=mixture, reference=truth)
        print(f"{name:8} {score:5.1f} dB {floor:31.1f} dB   {path}")


if __name__ == "__main__":
    main()
