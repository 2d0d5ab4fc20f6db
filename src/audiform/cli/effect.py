"""``audiform effect``: audio effects with knobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiform.cli.effect_evaluate import evaluate
from audiform.cli.effect_export import export
from audiform.cli.effect_knobs import parse_knobs
from audiform.cli.effect_scores import print_scores
from audiform.cli.effect_train import train
from audiform.cli.exit_codes import errors_as_exit_codes

if TYPE_CHECKING:
    from rich.progress import TaskID

    from audiform.io.write import AudioWriter

app = typer.Typer(
    help="Audio effects with knobs: learn them from recordings, apply and export them; "
    "reference effects.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

for command in (train, evaluate, export):
    app.command()(command)

#: Of a knob, in the order of the table.
ENDS = ("minimum", "maximum", "default")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List what can be put on a file: effects learned from recordings, which come with the
    package (for [bold]apply[/]), and reference effects (for [bold]render[/]).

    Knobs with units, ranges and defaults; of learned ones ESR on what was held out, and rights.
    """
    from audiform.checkpoints.catalog import SHIPPED_EFFECTS
    from audiform.checkpoints.file import read_header
    from audiform.checkpoints.model_package import embedded_path
    from audiform.effects import EFFECTS

    with errors_as_exit_codes():
        records: list[dict[str, Any]] = []
        for name, summary in SHIPPED_EFFECTS.items():
            header = read_header(embedded_path(name))
            records.append(
                {
                    "name": name,
                    "kind": "learned",
                    "summary": summary,
                    "knobs": header.knobs,
                    "esr": header.scores["mean"]["model"]["esr"],
                    "licence": header.licence.model_dump(),
                }
            )
        for name, effect in EFFECTS.items():
            knobs = [knob.model_dump() for knob in effect.knobs]
            records.append(
                {"name": name, "kind": "reference", "summary": effect.summary, "knobs": knobs}
            )
        if as_json:
            print(json.dumps(records, indent=2))
            return
        _print_effects(records)


def _print_effects(records: list[dict[str, Any]]) -> None:
    """Print a table of learned effects and one of reference effects."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    commands = {"learned": "apply", "reference": "render"}
    for kind, command in commands.items():
        table = Table(box=None, pad_edge=False)
        for heading in (
            f"{kind}: audiform effect {command} NAME",
            "knob",
            "from",
            "to",
            "default",
            "unit",
        ):
            table.add_column(heading, no_wrap=True)
        chosen = [record for record in records if record["kind"] == kind]
        for record in chosen:
            for index, knob in enumerate(record["knobs"] or [{}]):
                numbers = [f"{knob[end]:g}" if knob else "" for end in ENDS]
                name = "" if index else f"[bold]{record['name']}[/]"
                table.add_row(name, knob.get("name", "-"), *numbers, knob.get("unit", ""))
        console.print(table)
        for record in chosen:
            if kind == "learned":
                console.print(
                    f"{record['name']}: {record['summary']}; ESR {record['esr']:.2g}; weights "
                    f"{record['licence']['weights'].split(':')[0]}, recordings "
                    f"{record['licence']['data'].split(':')[0]}",
                    soft_wrap=True,
                )
        console.print()


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
        _warn(written)
        record = _record(name, written, settings)
        print(json.dumps(record) if as_json else _sentence(record))


@app.command()
def apply(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A learned effect: a checkpoint, or a name.")
    ],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="The dry audio.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="The wet audio, whose ending names the format; of several inputs a folder.",
        ),
    ],
    knobs: Annotated[
        list[str] | None,
        typer.Option(
            "--knob", metavar="NAME=VALUE", help="Set a knob, in its unit. May be repeated."
        ),
    ] = None,
    automate: Annotated[
        Path | None,
        typer.Option(
            "--automate",
            help="Move knobs: a CSV with a head seconds,KNOB,... or a JSON of "
            '{"KNOB": [[SECONDS, VALUE], ...]}.',
        ),
    ] = None,
    clicks: Annotated[
        Path | None,
        typer.Option(
            "--clicks",
            metavar="AUDIO",
            help="A track with a click on every beat, for an effect that puts hits on a grid.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("-d", "--device", help="cpu, cuda or auto.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Put a learned effect on files, block by block; length, rate and tags stay.

    [dim]audiform effect apply pedal.safetensors guitar.wav -o wet.wav --knob gain=70
    audiform effect apply comp.safetensors drums.flac -o wet.flac --automate ride.csv
    audiform effect apply align.safetensors drums.wav -o tight.wav --clicks click.wav[/]
    """
    with errors_as_exit_codes():
        from rich.console import Console
        from rich.progress import Progress

        from audiform.inference.click_track import read_clicks
        from audiform.inference.effect import Effect
        from audiform.inference.effect_automation import Automation
        from audiform.inference.effect_file import apply_to_file
        from audiform.knob import complete_settings

        beats = [] if clicks is None else read_clicks(clicks)
        automation = None if automate is None else Automation.read(automate)
        effect = Effect(file, device=device)
        settings = complete_settings(effect.knobs, parse_knobs(knobs))
        if automation is not None:
            automation.check(effect.knobs)
        records = []
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for source, target in _targets(inputs, out):
                task = progress.add_task(source.name, total=None)

                def on_progress(done: int, total: int | None, task: TaskID = task) -> None:
                    progress.update(task, completed=done, total=total)

                written = apply_to_file(
                    effect,
                    source,
                    target,
                    settings=settings,
                    automation=automation,
                    beats=beats,
                    on_progress=on_progress,
                )
                _warn(written)
                records.append(_record(effect.name, written, settings))
        if as_json:
            print(json.dumps(records[0] if len(records) == 1 else records))
        else:
            print("\n".join(map(_sentence, records)))


@app.command()
def info(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A learned effect.")],
    as_json: AsJson = False,
) -> None:
    """Describe a learned effect: knobs, rate, latency, size, what it was trained on, scores."""
    with errors_as_exit_codes():
        from audiform.inference.effect import Effect

        about = Effect(file).info
        if as_json:
            print(json.dumps(about, indent=2))
            return
        _print_info(about)


def _targets(inputs: list[Path], out: Path) -> list[tuple[Path, Path]]:
    """Return each input with where it goes; raises :class:`ConfigError` for names that meet."""
    from audiform.errors import ConfigError

    if len(inputs) == 1 and out.suffix and not out.is_dir():
        return [(inputs[0], out)]
    targets = [(source, out / f"{source.stem}.wav") for source in inputs]
    names = [target.name for _, target in targets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two inputs would be written to {twice[0]}; give them one by one")
    return targets


def _warn(written: AudioWriter) -> None:
    """Say on stderr what was clipped, and where the rate is another one."""
    if written.clipped_samples:
        print(
            f"warning: {written.clipped_samples} samples of {written.path} were beyond full scale "
            "and were clipped; write wav, which is float, or lower the input",
            file=sys.stderr,
        )
    if written.note:
        print(f"note: {written.note}", file=sys.stderr)


def _record(name: str, written: AudioWriter, settings: Mapping[str, float]) -> dict[str, Any]:
    return {
        "effect": name,
        "path": str(written.path),
        "knobs": dict(settings),
        "sample_rate": written.sample_rate,
        "num_samples": written.num_samples,
        "clipped_samples": written.clipped_samples,
    }


def _sentence(record: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{knob} {value:g}" for knob, value in record["knobs"].items())
    return f"{record['path']}: {record['effect']} ({shown or 'no knobs'})"


def _print_info(about: Mapping[str, Any]) -> None:
    print(f"{about['name']}: {about['architecture']}, {about['weights']:,} weights, "
          f"{about['size_bytes']:,} bytes")  # fmt: skip
    latency = 1000 * about["latency_samples"] / about["sample_rate"]
    print(f"{about['sample_rate']} Hz, latency {about['latency_samples']} samples "
          f"({latency:.2g} ms), blocks of {about['block_samples']}")  # fmt: skip
    for knob in about["knobs"]:
        print(
            f"knob {knob['name']}: {knob['minimum']:g} to {knob['maximum']:g} {knob['unit']}, "
            f"by default {knob['default']:g}, {knob['scale']}"
        )
    training = about["training"]
    data = training.get("data") or {}
    if "takes" in data:
        print(
            f"trained on {data['train_seconds']:g} s in {data['takes']} recordings of "
            f"{data['settings']} settings, {training['steps']} steps, {training['seconds']:g} s"
        )
        print(f"delay of the recordings: {data['alignment']['lag_samples']} samples, "
              f"{data['alignment']['moved_samples']} taken out")  # fmt: skip
    if about["scores"].get("mean"):
        print_scores(about["scores"])
    print("licence: " + ", ".join(f"{name} {text}" for name, text in about["licence"].items()))
