"""``audiform train``: a recipe over a folder of data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from audiform.cli.exit_codes import errors_as_exit_codes


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe; 'list' shows all.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder with the data: SONG/drums.wav ... per song, or songs/ and train/ in it.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder of the run. Default: runs/RECIPE."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in the folder stopped.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change a setting, such as training.max_seconds=600; may be repeated.",
        ),
    ] = None,
) -> None:
    """Train a model.

    State is kept in the folder of the run, so that a run that was stopped can go on with
    [bold]--resume[/]. What comes out is a checkpoint for [bold]audiform separate -n[/].

    [dim]audiform train default --data corpus/
    audiform train default --data corpus/ --set training.max_seconds=600[/]
    """
    with errors_as_exit_codes():
        from audiform.errors import ConfigError
        from audiform.recipes import RECIPES

        if recipe == "list":
            print("\n".join(RECIPES))
            return
        if recipe not in RECIPES:
            raise ConfigError(f"there is no recipe {recipe!r}; choose one of {', '.join(RECIPES)}")
        if data is None:
            raise ConfigError("there is nothing to train on; name a folder with --data")
        changed = dict(_setting(text) for text in settings or [])
        print(_train(recipe, data, out or Path("runs") / recipe, resume=resume, settings=changed))


def _train(recipe: str, data: Path, out: Path, *, resume: bool, settings: dict[str, Any]) -> Path:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from audiform.recipes import RECIPES

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("step {task.fields[step]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(recipe, total=1.0, step=0)

        def on_progress(step: int, share: float) -> None:
            progress.update(task, completed=share, step=step)

        return RECIPES[recipe](data, out, resume=resume, settings=settings, on_progress=on_progress)


def _setting(text: str) -> tuple[str, Any]:
    """Read ``path=value``; the value is JSON, or a text where it is none."""
    from audiform.errors import ConfigError

    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set takes PATH=VALUE, got {text!r}")
    try:
        return path, json.loads(value)
    except json.JSONDecodeError:
        return path, value
