"""Time that each augmentation takes, in times real time of stereo on one core.

python benchmarks/augment.py [--seconds 11] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from audiform.augment import AUGMENTATIONS
from audiform.augment.layout import StemLayout

SOURCES = ("drums", "bass", "other", "vocals")
RATE = 44100

#: Settings that leave no stem out.
ALWAYS = {
    "shift": {},
    "gain": {},
    "gain-db": {},
}


def stems(seconds: float) -> torch.Tensor:
    """Return a group of four: noise that is struck, so that attacks have to be handled."""
    length = int(seconds * RATE)
    generator = torch.Generator().manual_seed(0)
    decay = torch.exp(-(torch.arange(length) % 11_025) / 4000.0)
    return 0.1 * torch.randn(4, 4, 2, length, generator=generator) * decay


def times_real_time(kind: str, audio: torch.Tensor) -> float:
    """Return seconds of stereo audio per second of processor time, the best of three runs."""
    entry = AUGMENTATIONS[kind]
    config = entry.config(**ALWAYS.get(kind, {"share": 1.0}))
    layout = StemLayout(
        4, SOURCES, 2, audio.shape[-1], RATE, responses=torch.randn(8, 2, RATE) * 0.01
    )
    best = float("inf")
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        started = time.process_time()
        entry.apply(audio, entry.draw(config, layout, generator))
        best = min(best, time.process_time() - started)
    return 16 * audio.shape[-1] / RATE / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=11.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    audio = stems(arguments.seconds)
    figures = {kind: round(times_real_time(kind, audio)) for kind in AUGMENTATIONS}
    for kind, figure in figures.items():
        print(f"{kind:14} {figure:8d} x real time")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
