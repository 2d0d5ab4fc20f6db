"""Runs of recipes that go on where they were stopped, and their scores on songs held out.

What default_comparison.py and rendered_songs.py share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiform.evaluation.separation import evaluate
from audiform.recipes import RECIPES

#: Figure that is compared, and what a run's folder ends with.
FIGURE = "mdx_sdr_db"
SCORES_FILE = "sdr.json"

#: Folders with songs decoded and prepared, inside a run's.
SHARED_FOLDERS = ("decoded", "pool")

#: Length of the runs that only show that a command works.
TRIAL_STEPS = 2

Scores = dict[str, float]


def scored(
    recipe: str,
    data: Path,
    run: Path,
    *,
    held_out: Sequence[str],
    settings: Mapping[str, Any],
    start: Path | None = None,
    excerpt_seconds: float | None = None,
    others: Path | None = None,
) -> Scores:
    """Train a recipe on ``data`` but for ``held_out``, and return the mean SDR of each stem there.

    A run that has ended is not repeated. ``excerpt_seconds`` scores no more of a song. On all
    songs of the folder ``others`` it is scored, too: "others/STEM".
    """
    path = run / SCORES_FILE
    if path.is_file():
        found: Scores = json.loads(path.read_text())
        return found
    checkpoint = trained(recipe, data, run, settings=settings, start=start)
    songs = data / "songs" if (data / "songs").is_dir() else data
    scores = _mean_scores(checkpoint, songs, only=held_out, seconds=excerpt_seconds)
    if others is not None:
        found = _mean_scores(checkpoint, others, seconds=excerpt_seconds)
        scores |= {f"others/{stem}": value for stem, value in found.items()}
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(scores) + "\n")
    part.replace(path)
    return scores


def _mean_scores(
    checkpoint: Path, songs: Path, *, only: Sequence[str] = (), seconds: float | None = None
) -> Scores:
    """Return the mean over ``songs`` of each stem's SDR, and the mean over stems, "mean"."""
    values: dict[str, list[float]] = {}
    found = evaluate(checkpoint, songs, metrics=("mdx",), only=only, duration_seconds=seconds)
    for song in found.songs:
        for stem, figures in song.stems.items():
            if FIGURE in figures:
                values.setdefault(stem, []).append(figures[FIGURE]["estimate"])
    scores = {stem: sum(of_songs) / len(of_songs) for stem, of_songs in values.items()}
    return {**scores, "mean": sum(scores.values()) / len(scores)}


def trained(
    recipe: str,
    data: Path,
    run: Path,
    *,
    settings: Mapping[str, Any],
    start: Path | None = None,
) -> Path:
    """Train a recipe, from where it was stopped if it was; return the checkpoint.

    What is made of the songs before training is made once for all runs beside this one: they
    must hold out the same songs.
    """
    run.mkdir(parents=True, exist_ok=True)
    for name in SHARED_FOLDERS:
        (run.parent / name).mkdir(exist_ok=True)
        if not (run / name).exists():
            (run / name).symlink_to(Path("..") / name)
    begin = None if start is None else str(start)
    return RECIPES[recipe](data, run, resume=True, start=begin, settings=settings)


def held_out_settings(recipe: str, held_out: Sequence[str]) -> dict[str, Any]:
    """Return the setting that keeps songs away from a recipe."""
    name = "held_out" if recipe.startswith("default") else "data.held_out"
    return {name: tuple(held_out)}


def end_settings(*, steps: int | None = None, seconds: float | None = None) -> dict[str, Any]:
    """Return the settings that end a run after so many steps, or seconds of training."""
    return {"training.max_steps": steps, "training.max_seconds": seconds}


def row(scores: Scores) -> str:
    """Return a line of a table."""
    return "  ".join(f"{stem} {value:6.2f}" for stem, value in scores.items())
