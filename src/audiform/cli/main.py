"""``audiform``: the commands and the version."""

from __future__ import annotations

from typing import Annotated

import typer

from audiform import __version__
from audiform.cli import bench, data, doctor, effect, evaluate, models, separate, train

app = typer.Typer(
    name="audiform",
    help="Neural audio-to-audio models with attention: take songs apart into stems.",
    epilog="Start with: audiform separate SONG",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("separate")(separate.separate)
app.add_typer(models.app, name="models")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(data.app, name="data")
app.add_typer(effect.app, name="effect")
app.add_typer(bench.app, name="bench")
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"audiform {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()
