"""How far SignalTrain with attention must look back to follow a compressor with a slow release.

python benchmarks/attention_look_back.py RUNS [--steps 250] [--json FILE] [--svg FILE]

A compressor that lets go within one second (ratio 4, attack 10 ms; the threshold is the knob) is
learned by one network with look-backs from nothing to three seconds: same pairs, same batches,
same number of steps, scored on sounds that were not trained on. The network is a small one:
frames of 256 samples, autoencoders of rank 16. RUNS keeps each run's state, as in
attention_pays.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import measure
import torch
from attention_training import RATE, Run, Training, render

from audiform.data.effect_pairs import RenderedEffect
from audiform.evaluation import line_chart as chart

TASK = RenderedEffect(
    "compressor-large",
    lead_in_seconds=2.0,
    fixed={"ratio": 4.0, "attack_ms": 10.0, "release_ms": 1000.0},
)

#: Pairs of four seconds; an answer begins in the last of them.
PAIRS, UNSEEN, SAMPLES = 500, 100, 4 * RATE
PLACES = range(3 * RATE, SAMPLES - 2048 - 256)

#: Chunks whose newest 2048 samples are answered: samples, and how many times as many.
CHUNKS = ((2048, 1), (4160, 2), (8192, 4), (16256, 8), (32768, 16), (65408, 32), (131072, 64))

SMALL = {"n_fft": 256, "hop_length": 96, "rank": 16, "near_frames": 25}
HIGHEST_RATE, BATCH = 3e-3, 24


def main() -> None:
    """Train, print and draw."""
    parser = measure.parser(__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--svg", type=Path)
    arguments: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.runs
    pool = render(TASK, pairs=PAIRS, samples=SAMPLES, seed=1, keep=folder / "slow.safetensors")
    unseen = render(
        TASK, pairs=UNSEEN, samples=SAMPLES, seed=2, keep=folder / "slow-unseen.safetensors"
    )
    rows: dict[str, str | float] = {}
    points = []
    for chunk, shrink in CHUNKS:
        run = Run(
            f"look-back-{chunk}-{arguments.steps}",
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
    measure.report("look-back, release of 1 s", rows, arguments.json)
    if arguments.svg is not None:
        line = chart.Line("signaltrain-attention", points)
        panel = chart.Panel([line], across="look-back, seconds", up="ESR", log_up=True)
        arguments.svg.write_text(chart.svg([panel]))


if __name__ == "__main__":
    main()
