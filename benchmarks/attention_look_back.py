"""How far SignalTrain with attention must look back to follow a compressor with a slow release.

python benchmarks/attention_look_back.py RUNS [--steps 400] [--json FILE] [--svg FILE]

A compressor that lets go within one second (ratio 4, attack 10 ms; the threshold is the knob) is
played noise whose level jumps, so that its gain says what was long ago. It is learned by one
network with look-backs from nothing to three seconds: same pairs, same batches, same number of
steps, scored on sounds that were not trained on. The network is a small one: frames of 256
samples, autoencoders of rank 16. RUNS keeps each run's state, as in attention_pays.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import measure
import numpy as np
import torch
from attention_training import RATE, Run, Training, render
from torch import Tensor

from audiform.data.effect_pairs import RenderedEffect
from audiform.evaluation import line_chart as chart

#: A level is held for so many seconds, evenly on a logarithmic scale, and is so far below full.
HELD_SECONDS, LEVELS_DB = (0.03, 1.5), (-24.0, 0.0)


class JumpingNoise:
    """White noise whose level jumps."""

    def __call__(self, rng: np.random.Generator, *, samples: int, sample_rate: int) -> Tensor:
        """Return mono sound."""
        levels: list[np.ndarray] = []
        while sum(map(len, levels)) < samples:
            held = np.exp(rng.uniform(*np.log(HELD_SECONDS)))
            level = 10.0 ** (rng.uniform(*LEVELS_DB) / 20.0)
            levels.append(np.full(round(held * sample_rate), level))
        noise = rng.uniform(-1.0, 1.0, samples) * np.concatenate(levels)[:samples]
        return torch.from_numpy(noise.astype(np.float32))[None]


TASK = RenderedEffect(
    "compressor-large",
    source=JumpingNoise(),
    lead_in_seconds=2.0,
    fixed={"ratio": 4.0, "attack_ms": 10.0, "release_ms": 1000.0},
)

#: Pairs of four seconds; an answer begins in the last of them.
PAIRS, UNSEEN, SAMPLES = 500, 300, 4 * RATE
PLACES = range(3 * RATE, SAMPLES - 2048 - 256)

#: Chunks whose newest 2048 samples are answered: samples, and how many times as many.
CHUNKS = ((2048, 1), (4160, 2), (8192, 4), (16256, 8), (32768, 16), (65408, 32), (131072, 64))

SMALL = {"n_fft": 256, "hop_length": 96, "rank": 16, "near_frames": 25}
HIGHEST_RATE, BATCH = 3e-3, 24


def main() -> None:
    """Train, print and draw."""
    parser = measure.parser(__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--svg", type=Path)
    arguments: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.runs
    pool = render(TASK, pairs=PAIRS, samples=SAMPLES, seed=1, keep=folder / "jumping.safetensors")
    unseen = render(
        TASK, pairs=UNSEEN, samples=SAMPLES, seed=2, keep=folder / "jumping-unseen.safetensors"
    )
    rows: dict[str, str | float] = {}
    points = []
    for chunk, shrink in CHUNKS:
        run = Run(
            f"jumping-{chunk}-{arguments.steps}",
            "signaltrain-attention",
            steps=arguments.steps,
            rate=HIGHEST_RATE,
            batch=BATCH,
            options=SMALL | {"chunk_samples": chunk, "shrink_factor": shrink},
        )
        training = Training(run, TASK, pool=pool, unseen=unseen, at=PLACES, folder=folder)
        esr = training.finish()[-1]["esr"]
        seconds = training.network.frames.context_samples / RATE
        rows[f"look-back {seconds:.2f} s: ESR"] = esr
        points.append((seconds, esr))
    measure.report(f"look-back, release of 1 s, {arguments.steps} steps", rows, arguments.json)
    if arguments.svg is not None:
        line = chart.Line("signaltrain-attention", points)
        panel = chart.Panel([line], across="look-back, seconds", up="ESR", log_up=True)
        arguments.svg.write_text(chart.svg([panel]))


if __name__ == "__main__":
    main()
