"""An experiment's figures as a file and a table, and its curves as a picture."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from experiments.padding import BORDER_STEP, run_in_ways
from experiments.picture import draw_curves
from experiments.runs import RunResult, Runs, write_aside
from experiments.table import EXPERIMENTS, Claim, Experiment, PaddingExperiment
from experiments.verdict import judge

#: Figures are written with this many digits.
DIGITS = 5


def report(name: str, runs: Runs, seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """Run what was not run yet; write ``frame-NAME.json`` and its picture, return the former."""
    experiment = EXPERIMENTS[name]
    if isinstance(experiment, PaddingExperiment):
        arms, picture = _padding(experiment, runs, seeds)
    else:
        arms, picture = _arms(experiment, runs, seeds)
    losses = {label: [run["loss"] for run in arm["final"]] for label, arm in arms.items()}
    found = {
        "experiment": name,
        "question": experiment.question,
        "command": f"python -m experiments {name} --data SONGS --held-out "
        f"{runs.settings.held_out} --seeds {len(seeds)}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "settings": runs.settings.model_dump(mode="json"),
        "songs": [song.name for song in runs.songs.train],
        "seeds": list(seeds),
        "floors": runs.unheard.floors(),
        "claims": [_judged(claim, losses) for claim in experiment.claims],
        "arms": arms,
    }
    found = rounded(found)
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / f"frame-{name}.json", json.dumps(found, indent=1) + "\n")
    write_aside(folder / f"frame-{name}.svg", picture)
    return found


def _arms(experiment: Experiment, runs: Runs, seeds: Sequence[int]) -> tuple[dict[str, Any], str]:
    results = {
        label: [runs.result(arm, seed) for seed in seeds] for label, arm in experiment.arms.items()
    }
    picture = draw_curves(
        experiment.question,
        {label: [_losses(run) for run in of_arm] for label, of_arm in results.items()},
        x_name="supervised steps",
        y_name="error on unheard pieces (no mask: 1)",
    )
    arms = {
        label: {"processor_seconds_per_step": runs.processor_seconds(of_arm[0].arm), **_arm(of_arm)}
        for label, of_arm in results.items()
    }
    return arms, picture


def _losses(run: RunResult) -> list[tuple[float, float]]:
    return [(point["step"], point["loss"]) for point in run.curve]


def _arm(of_arm: Sequence[RunResult]) -> dict[str, Any]:
    first = of_arm[0]
    return {
        "arm": {"name": first.arm, **first.description["arm"]},
        "weights": first.weights,
        "clock_seconds_per_step": fmean(run.seconds_per_step for run in of_arm),
        "final": [{k: v for k, v in run.curve[-1].items() if k != "step"} for run in of_arm],
        "curves": [run.curve for run in of_arm],
        **({"pretraining": [run.pretraining for run in of_arm]} if first.pretraining else {}),
    }


def _padding(
    experiment: PaddingExperiment, runs: Runs, seeds: Sequence[int]
) -> tuple[dict[str, Any], str]:
    scores, by_distance = run_in_ways(experiment, runs, seeds)
    picture = draw_curves(
        experiment.question,
        {
            way: [
                [(BORDER_STEP * (index + 0.5), loss) for index, loss in enumerate(losses)]
                for losses in of_way
            ]
            for way, of_way in by_distance.items()
        },
        x_name="frames from the border of what is kept",
        y_name="error on unheard pieces (no mask: 1)",
    )
    arms = {
        way: {
            "kept_frames": kept,
            "context_frames": context,
            "final": scores[way],
            "loss_by_distance": by_distance[way],
        }
        for way, (kept, context) in experiment.ways.items()
    }
    return arms, picture


def _judged(claim: Claim, losses: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    finding = judge(better=losses[claim.better], than=losses[claim.than], or_equal=claim.or_equal)
    return {**asdict(claim), **asdict(finding)}


def as_table(found: Mapping[str, Any]) -> str:
    """Return Markdown: arms with their figures, then claims with what became of them."""
    trained = any("weights" in arm for arm in found["arms"].values())
    lines = [
        f"| {'arm | weights | ms a step' if trained else 'crops'} | error | vocals SDR, dB | "
        "other song: error | SDR |",
        "|---" * (7 if trained else 5) + "|",
    ]
    for label, arm in found["arms"].items():
        size = (
            f"{arm['weights']:,} | {1000 * arm['processor_seconds_per_step']:.0f} | "
            if trained
            else ""
        )
        final = arm["final"]
        figures = [
            _span([run[score] for run in final], digits)
            for score, digits in zip(final[0], (3, 2, 3, 2), strict=True)
        ]
        lines.append(f"| {label} | {size}{' | '.join(figures)} |")
    lines += ["", "| claim | held against each other | error | seeds for it | here |"]
    lines.append("|---|---|---|---|---|")
    for claim in found["claims"]:
        seeds = f"{claim['seeds_for']} of {claim['num_seeds']}"
        lines.append(
            f"| {claim['text']} | {claim['better']} / {claim['than']} | "
            f"{100 * (claim['ratio'] - 1):+.1f} % | {seeds} | **{claim['verdict']}** |"
        )
    return "\n".join(lines)


def _span(values: Sequence[float], digits: int) -> str:
    return f"{fmean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def rounded(value: Any) -> Any:
    """Return JSON values with all floats at :data:`DIGITS` digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value
