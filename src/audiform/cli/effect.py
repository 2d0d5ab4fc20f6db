"""``audiform effect``: audio effects with knobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiform.cli.effect_export import export
from audiform.cli.exit_codes import errors_as_exit_codes

if TYPE_CHECKING:
    from rich.progress import TaskID

    from audiform.data.effect_recordings import Recordings
    from audiform.evaluation.effect_evaluation import EffectEvaluation
    from audiform.io.write import AudioWriter

app = typer.Typer(
    help="Audio effects with knobs: learn them from recordings, apply and export them; "
    "reference effects.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

app.command()(export)

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
def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Recordings: input.wav and target__KNOB=VALUE.wav ..., SignalTrain's folders, "
            "or input/ and target/.",
            exists=True,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="The checkpoint, .safetensors."),
    ],
    model: Annotated[
        str, typer.Option("--model", help="Network: gain-tcn, signaltrain, ...")
    ] = "gain-tcn",
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.0, help="Time to train for. Default: 30."),
    ] = None,
    knobs: Annotated[
        list[str] | None,
        typer.Option(
            "--knob",
            metavar="NAME:MIN:MAX[:UNIT]",
            help="Range and unit of a knob, instead of what the recordings show. May be repeated.",
        ),
    ] = None,
    valid: Annotated[
        float | None,
        typer.Option(
            "--valid", help="Share at the end of each recording that is held out. Default: 0.15."
        ),
    ] = None,
    score_only: Annotated[
        str | None,
        typer.Option(
            "--score-only",
            metavar="PERIOD:START:STOP",
            help="Of every PERIOD samples only those from START to STOP count.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed. Default: 0.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run of this file stopped.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change a setting, such as network.hidden_channels=8. May be repeated.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="A page with curves, pictures and sound: .html."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn an effect from recordings of what went in and what came out.

    A constant delay between input and target is found and taken out. What is learned is scored
    on the end of each recording, next to what needs no learning. State is kept beside FILE, in
    a folder that ends in .run: [bold]--resume[/] goes on from it.

    [dim]audiform effect train recordings/ -o pedal.safetensors --minutes 10
    audiform effect train recordings/ -o comp.safetensors --knob ratio:1:10::1[/]
    """
    with errors_as_exit_codes():
        from contextlib import closing

        from audiform.checkpoints.file import read_header
        from audiform.cli.exit_codes import INTERRUPTED
        from audiform.cli.train import TrainingBar, parse_setting
        from audiform.errors import Cancelled, ConfigError
        from audiform.recipes.effect import effect_run, run
        from audiform.recipes.settings import with_settings

        if out.suffix != ".safetensors":
            raise ConfigError(f"{out} does not end in .safetensors; name the checkpoint so")
        wanted: dict[str, Any] = {
            "training.max_seconds": None if minutes is None else 60.0 * minutes,
            "training.seed": seed,
            "data.valid_share": valid,
            "data.score_only": score_only,
            "data.knobs": [parse_knob_range(text) for text in knobs] if knobs else None,
        }
        chosen = {path: value for path, value in wanted.items() if value is not None}
        chosen |= dict(parse_setting(text) for text in settings or [])
        recipe = with_settings(effect_run(model), chosen)
        if out.exists() and not resume:
            raise ConfigError(f"{out} is there already; take it away, or choose another -o")
        try:
            with closing(TrainingBar()) as bar:
                run(
                    recipe,
                    data,
                    out.with_suffix(".run"),
                    name=out.stem,
                    checkpoint=out,
                    resume=resume,
                    on_read=None if as_json else _print_recordings,
                    on_progress=bar.update,
                )
        except Cancelled as stopped:
            print(stopped, file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        if report is not None:
            _evaluate(out, data, report, None)
        header = read_header(out)
        if as_json:
            print(
                json.dumps(
                    {
                        "path": str(out),
                        "knobs": header.knobs,
                        "data": header.training["data"],
                        "steps": header.training["steps"],
                        "seconds": header.training["seconds"],
                        "scores": header.scores,
                    }
                )
            )
            return
        _print_scores(header.scores)
        print(out)


@app.command()
def evaluate(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A learned effect: a checkpoint, or a name.")
    ],
    data: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Recordings, as for effect train.", exists=True),
    ],
    report: Annotated[
        Path | None,
        typer.Option("--report", help="A page with curves, pictures and sound: .html."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Scores as JSON lines: all, then each recording."),
    ] = None,
    score_only: Annotated[
        str | None,
        typer.Option(
            "--score-only",
            metavar="PERIOD:START:STOP",
            help="As in training. Default: what the checkpoint was trained with.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a learned effect on recordings, next to what needs no learning.

    Recordings for a test count, or else the end of each recording, as much as was held out in
    training: of the recordings that it was trained on, what it has not heard.

    [dim]audiform effect evaluate pedal.safetensors recordings/ --report pedal.html[/]
    """
    with errors_as_exit_codes():
        from dataclasses import asdict

        found = _evaluate(file, data, report, score_only)
        if out is not None:
            from audiform.io.write import PART_SUFFIX

            aside = out.with_name(out.name + PART_SUFFIX)
            aside.write_text(found.to_lines(), encoding="utf-8")
            aside.replace(out)
        if as_json:
            whole, *takes = found.records()
            print(json.dumps({**whole, "takes": takes}, default=str))
            return
        _print_scores(
            {
                "on": found.data["on"],
                "mean": found.records()[0]["mean"],
                "takes": [asdict(take) for take in found.takes],
            }
        )
        for kind, value in (("seen in training", found.seen), ("never seen", found.unseen)):
            if value is not None:
                print(f"ESR at settings {kind}: {_number(value)}")
        print(found.behaviour.sentence())
        if report is not None:
            print(report)


def _evaluate(
    file: str | Path, data: Path, report: Path | None, score_only: str | None
) -> EffectEvaluation:
    """Score, with a progress bar, and write the page where one is wanted."""
    import shlex
    import tempfile

    from rich.console import Console
    from rich.progress import Progress

    from audiform.evaluation.effect_evaluation import evaluate_effect, recordings_for
    from audiform.evaluation.effect_report import write_report
    from audiform.inference.effect import Effect

    effect = Effect(file)
    with (
        tempfile.TemporaryDirectory(prefix="audiform-") as cache,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("recordings", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        recordings = recordings_for(effect, data, cache_folder=Path(cache), score_only=score_only)
        found = evaluate_effect(effect, recordings, on_progress=on_progress)
        if report is not None:
            write_report(
                report,
                effect.network,
                found,
                command=shlex.join(["audiform", *sys.argv[1:]]),
                training_log=effect.path.with_suffix(".run") / "log.jsonl",
            )
    return found


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


def _print_recordings(recordings: Recordings) -> None:
    """Say what was read, and what was done about delay and polarity."""
    rate = recordings.sample_rate
    train, valid = (
        sum(take.num_samples for take in recordings.of(split)) / rate
        for split in ("train", "valid")
    )
    names = len({take.name for take in recordings.takes})
    print(
        f"{names} recordings ({recordings.layout}) at {rate} Hz: {train:.1f} s to train on, "
        f"{valid:.1f} s to validate on",
        file=sys.stderr,
    )
    for knob in recordings.knobs:
        scale = ", logarithmic" if knob.scale == "log" else ""
        ends = f"{knob.minimum:g} to {knob.maximum:g} {knob.unit}".rstrip()
        print(f"knob {knob.name}: {ends}{scale}", file=sys.stderr)
    for name, value in recordings.fixed.items():
        print(f"knob {name} is {value:g} in all recordings, so it is left out", file=sys.stderr)
    print(recordings.alignment.sentence(), file=sys.stderr)


def _print_scores(scores: Mapping[str, Any]) -> None:
    """Print the means over recordings, and each one's ESR where there are several."""
    from rich.console import Console
    from rich.table import Table

    headings = {"esr": "ESR", "esr_pre": "ESR-pre", "mae": "MAE", "mr_stft": "MR-STFT",
                "lufs_error": "LUFS error", "gain_error_db": "gain error dB"}  # fmt: skip
    table = Table(box=None, pad_edge=False)
    on = "recordings for the test" if scores["on"] == "test" else "what was held out"
    table.add_column(f"on {on}")
    for heading in headings.values():
        table.add_column(heading, justify="right")
    for name, row in scores["mean"].items():
        table.add_row(name, *(_number(row.get(metric)) for metric in headings))
    console = Console(highlight=False)
    console.print(table)
    if len(scores["takes"]) < 2:
        return
    each = Table(box=None, pad_edge=False)
    each.add_column("ESR of each")
    for name in scores["mean"]:
        each.add_column(name, justify="right")
    for take in scores["takes"]:
        each.add_row(
            take["name"],
            *(_number(take["rows"].get(name, {}).get("esr")) for name in scores["mean"]),
        )
    console.print(each)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


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
        _print_scores(about["scores"])
    print("licence: " + ", ".join(f"{name} {text}" for name, text in about["licence"].items()))


def parse_knob_range(text: str) -> dict[str, Any]:
    """Read ``NAME:MIN:MAX[:UNIT]``; raises :class:`ConfigError`."""
    from audiform.errors import ConfigError

    parts = text.split(":", 3)
    try:
        name, low, high = parts[0].strip(), float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        raise ConfigError(
            f"--knob takes NAME:MIN:MAX or NAME:MIN:MAX:UNIT, got {text!r}; such as "
            "--knob gain:0:100:%"
        ) from None
    unit = parts[3].strip() if len(parts) > 3 else ""
    return {
        "name": name,
        "unit": unit,
        "minimum": low,
        "maximum": high,
        "default": (low + high) / 2,
    }


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
