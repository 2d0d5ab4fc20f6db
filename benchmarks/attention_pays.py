"""Plain SignalTrain against the one with attention on a compressor with four knobs.

python benchmarks/attention_pays.py RUNS [--only plain-0 ...] [--seeds 3] [--steps 2000]
    [--share 0.333] [--batch 200] [--json FILE] [--svg FILE]

Same pairs, same batches, Adam, the published loss and schedule, each network at the rate
that was best for it in short runs. The plain network is given all steps; the one with attention
a share of them, as a run of its own, since the schedule ends in small steps. Both are scored on
settings and sounds that were not trained on. RUNS is a folder that keeps each run's state: the
command can be stopped, and goes on when it is given again; --only names what is trained now.
The table and the figure are made from all runs that have ended.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import measure
import torch
from attention_training import Pool, Run, Training, render

from audiform.data.effect_pairs import RenderedEffect
from audiform.evaluation import line_chart as chart

TASK = RenderedEffect("compressor")

#: Pairs to train on and to score with; a chunk of 9216 is cut from each at a place drawn anew.
PAIRS, UNSEEN, SAMPLES = 12_000, 512, 12_288

#: Where an answer may begin: behind a look-back, before the answer and the look-ahead.
PLACES = range(6144, SAMPLES - 2048 - 1024 + 1)

#: Highest rates, by runs of 15,000 chunks. Plain: better than 6e-3 in batches of 200, and than 1e-3
#: in batches of 50. Attention: a guess between its gain curve, which alone is better at 6e-3 than
#: at 3e-3, and its autoencoders, which are those of the plain one.
RATES = {"plain": 3e-3, "attention": 4e-3}
NETWORKS = {"plain": "signaltrain", "attention": "signaltrain-attention"}
OPTIONS = {"plain": {}, "attention": {"chunk_samples": 8192, "shrink_factor": 4}}


def planned(*, seeds: int, steps: int, share: float, batch: int) -> list[Run]:
    """Return all runs."""
    lengths = {"plain": steps, "attention": round(share * steps)}
    return [
        Run(
            f"{kind}-{seed}-{lengths[kind]}x{batch}",
            NETWORKS[kind],
            steps=lengths[kind],
            rate=RATES[kind],
            seed=seed,
            batch=batch,
            options=OPTIONS[kind],
        )
        for seed in range(seeds)
        for kind in lengths
    ]


def pools(folder: Path) -> tuple[Pool, Pool]:
    """Return what is trained on, and what is not."""
    return (
        render(TASK, pairs=PAIRS, samples=SAMPLES, seed=1, keep=folder / "pool.safetensors"),
        render(TASK, pairs=UNSEEN, samples=SAMPLES, seed=2, keep=folder / "unseen.safetensors"),
    )


def train(runs: list[Run], folder: Path) -> None:
    """Train what has not ended; its curve is written when it has."""
    pool, unseen = pools(folder)
    for run in runs:
        ended = folder / f"{run.name}.json"
        if ended.exists():
            continue
        training = Training(run, TASK, pool=pool, unseen=unseen, at=PLACES, folder=folder)
        curve = training.finish()
        ended.write_text(json.dumps({"rate": run.rate, "batch": run.batch, "curve": curve}))


Curve = list[dict[str, float]]


def mean_curve(curves: list[Curve]) -> Curve:
    """Return the mean over seeds, point by point."""
    return [
        {key: statistics.fmean(point[key] for point in points) for key in points[0]}
        for points in zip(*curves, strict=True)
    ]


def summary(curves: dict[str, list[Curve]]) -> dict[str, str | float]:
    """Return the rows of the table."""
    rows: dict[str, str | float] = {}
    for kind, some in curves.items():
        last = [curve[-1] for curve in some]
        rows[f"{kind}: seeds"] = len(some)
        for key in ("step", "seconds", "loss", "esr"):
            rows[f"{kind}: {key}"] = statistics.fmean(point[key] for point in last)
        rows[f"{kind}: worst loss"] = max(point["loss"] for point in last)
        rows[f"{kind}: best loss"] = min(point["loss"] for point in last)
    if len(curves) == len(NETWORKS):
        plain, attention = (mean_curve(curves[kind]) for kind in ("plain", "attention"))
        goal = plain[-1]["loss"]
        reached = next((point for point in attention if point["loss"] <= goal), None)
        for key, name in (("step", "steps"), ("seconds", "seconds")):
            rows[f"share of {name} until the plain run's final loss"] = (
                reached[key] / plain[-1][key] if reached else "not reached"
            )
    return rows


def ended(folder: Path, runs: list[Run]) -> dict[str, list[Curve]]:
    """Return the curves of the runs that have ended, by kind."""
    curves: dict[str, list[Curve]] = {kind: [] for kind in NETWORKS}
    for run in runs:
        path = folder / f"{run.name}.json"
        if path.exists():
            curves[run.name.split("-")[0]].append(json.loads(path.read_text())["curve"])
    return curves


def draw(curves: dict[str, list[Curve]], to: Path) -> None:
    """Draw loss against steps and against seconds, a line for each seed."""
    panels = [
        chart.Panel(
            [
                chart.Line(kind, [(point[key], point["loss"]) for point in curve], color=color)
                for color, (kind, some) in enumerate(curves.items())
                for curve in some
            ],
            across=across,
            up="log cosh on unseen pairs",
            log_up=True,
        )
        for key, across in (("step", "steps"), ("seconds", "seconds on one core"))
    ]
    to.write_text(chart.svg(panels))


def main() -> None:
    """Train what is asked for and show what has ended."""
    parser = measure.parser(__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--share", type=float, default=1 / 3)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--svg", type=Path)
    arguments: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    runs = planned(
        seeds=arguments.seeds,
        steps=arguments.steps,
        share=arguments.share,
        batch=arguments.batch,
    )
    only = arguments.only
    wanted = [run for run in runs if only is None or run.name.rsplit("-", 1)[0] in only]
    train(wanted, arguments.runs)
    curves = ended(arguments.runs, runs)
    rows = summary({kind: some for kind, some in curves.items() if some})
    measure.report("attention pays", rows, arguments.json)
    if arguments.json is not None:
        kept = json.loads(arguments.json.read_text())
        arguments.json.write_text(json.dumps(kept | {"curves": curves}, indent=1) + "\n")
    if arguments.svg is not None:
        draw(curves, arguments.svg)


if __name__ == "__main__":
    main()
