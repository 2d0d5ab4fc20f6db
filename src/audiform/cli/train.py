"""``audiform train``: a recipe over a folder of data."""

from __future__ import annotations

import inspect
import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiform.cli.exit_codes import INTERRUPTED, errors_as_exit_codes

if TYPE_CHECKING:
    from audiform.training.loop import Progress

#: A run that has just begun knows no better.
LONGEST_SHOWN_SECONDS = 1e7


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
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            help="Begin with the weights of this checkpoint: a name or a path.",
        ),
    ] = None,
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

    State is kept in the folder of the run, so that a run that was stopped (Ctrl-C, or a crash)
    can go on with [bold]--resume[/]. What comes out is a checkpoint for
    [bold]audiform separate -n[/]. On several GPUs: [bold]accelerate launch -m audiform train[/]

    [dim]audiform train list
    audiform train default --data corpus/
    audiform train default --data corpus/ --set training.max_seconds=600[/]
    """
    with errors_as_exit_codes():
        from audiform.errors import Cancelled, ConfigError
        from audiform.recipes import RECIPES

        if recipe == "list":
            _print_recipes()
            return
        if recipe not in RECIPES:
            raise ConfigError(f"there is no recipe {recipe!r}; choose one of {', '.join(RECIPES)}")
        if data is None:
            raise ConfigError("there is nothing to train on; name a folder with --data")
        try:
            with closing(TrainingBar()) as bar:
                path = RECIPES[recipe](
                    data,
                    out or Path("runs") / recipe,
                    resume=resume,
                    start=start,
                    settings=dict(parse_setting(text) for text in settings or []),
                    on_progress=bar.update,
                )
        except Cancelled as stopped:
            if is_main_process():
                print(stopped, file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        if is_main_process():
            print(path)


def _print_recipes() -> None:
    """Print each recipe's name and the first line of what it says about itself."""
    from audiform.recipes import RECIPES

    width = max(map(len, RECIPES))
    for name, recipe in RECIPES.items():
        first = (inspect.getdoc(recipe) or "").partition("\n")[0]
        print(f"{name:<{width}}  {first}")


def is_main_process() -> bool:
    """Tell whether this process speaks for all that train together."""
    return os.environ.get("RANK", "0") == "0"


class TrainingBar:
    """A line on the terminal, at most 80 columns wide, that appears with the first step."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            BarColumn(bar_width=10),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            disable=not is_main_process(),
        )
        self._task = self._bars.add_task("", total=1.0)

    def update(self, now: Progress) -> None:
        """Show where the run stands."""
        self._bars.start()
        minutes, seconds = divmod(round(min(now.seconds_left, LONGEST_SHOWN_SECONDS)), 60)
        self._bars.update(
            self._task,
            completed=now.share,
            description=(
                f"epoch {now.epoch} step {now.step} loss {now.loss:.4g} "
                f"rate {now.learning_rate:.1e} {now.items_per_second:.3g} segments/s "
                f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left"
            ),
        )

    def close(self) -> None:
        """Leave the line as it is."""
        self._bars.stop()


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``path=value``; the value is JSON, or a text where it is none."""
    from audiform.errors import ConfigError

    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set takes PATH=VALUE, got {text!r}")
    try:
        return path, json.loads(value)
    except json.JSONDecodeError:
        return path, value
