"""``audiform effect``: audio effects with knobs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from audiform.cli.exit_codes import errors_as_exit_codes

app = typer.Typer(
    help="Audio effects with knobs: those that are known exactly.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the reference effects and their knobs, with units, ranges and defaults."""
    from audiform.effects import EFFECTS

    if as_json:
        records = [
            {
                "name": name,
                "summary": effect.summary,
                "knobs": [knob.model_dump() for knob in effect.knobs],
            }
            for name, effect in EFFECTS.items()
        ]
        print(json.dumps(records, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("effect", "knob", "from", "to", "default", "unit"):
        table.add_column(heading, no_wrap=True)
    for name, effect in EFFECTS.items():
        for index, knob in enumerate(effect.knobs):
            numbers = [f"{value:g}" for value in (knob.minimum, knob.maximum, knob.default)]
            table.add_row("" if index else f"[bold]{name}[/]", knob.name, *numbers, knob.unit)
    Console(highlight=False).print(table)


@app.command()
def render(
    name: Annotated[str, typer.Argument(help="A name of `audiform effect list`.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="The dry audio.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="FILE", help="The wet audio; its ending names the format."
        ),
    ],
    knobs: Annotated[
        list[str] | None,
        typer.Option(
            "--knob", metavar="NAME=VALUE", help="Set a knob, in its unit. May be repeated."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a reference effect on a file, block by block; length and rate stay.

    wav is written as 32-bit float, flac as 24-bit.

    [dim]audiform effect render compressor dry.wav -o wet.wav --knob threshold_db=-24
    audiform effect render reverb dry.flac -o wet.flac --knob mix=0.5 --knob decay_seconds=3[/]
    """
    with errors_as_exit_codes():
        from rich.console import Console
        from rich.progress import Progress

        from audiform.effects import find_effect
        from audiform.inference.render_effect import render_effect
        from audiform.knob import complete_settings

        settings = complete_settings(find_effect(name).knobs, parse_knobs(knobs))
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(name, total=None)

            def on_progress(done: int, total: int | None) -> None:
                progress.update(task, completed=done, total=total)

            written = render_effect(name, source, out, settings=settings, on_progress=on_progress)
        if written.clipped_samples:
            print(
                f"warning: {written.clipped_samples} samples of {out} were beyond full scale and "
                "were clipped; write wav, which is float, or lower the input",
                file=sys.stderr,
            )
        if written.note:
            print(f"note: {written.note}", file=sys.stderr)
        if as_json:
            print(
                json.dumps(
                    {
                        "effect": name,
                        "path": str(out),
                        "knobs": settings,
                        "sample_rate": written.sample_rate,
                        "num_samples": written.num_samples,
                        "clipped_samples": written.clipped_samples,
                    }
                )
            )
        else:
            shown = ", ".join(f"{knob} {value:g}" for knob, value in settings.items())
            print(f"{out}: {name} ({shown})")


def parse_knobs(texts: list[str] | None) -> dict[str, float]:
    """Read ``NAME=VALUE`` texts; raises :class:`ConfigError`."""
    from audiform.errors import ConfigError

    settings: dict[str, float] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        name = name.strip()
        try:
            number = float(value)
        except ValueError:
            equals = ""
        if not name or not equals:
            raise ConfigError(
                f"--knob takes NAME=VALUE, got {text!r}; such as --knob threshold_db=-24"
            )
        if name in settings:
            raise ConfigError(f"--knob {name} was given twice; leave one out")
        settings[name] = number
    return settings
