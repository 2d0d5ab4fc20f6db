"""``audiform effect train``: an effect learned from recordings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiform.cli.effect_evaluate import evaluated
from audiform.cli.effect_knobs import parse_knob_range
from audiform.cli.effect_scores import print_scores
from audiform.cli.exit_codes import INTERRUPTED, errors_as_exit_codes

if TYPE_CHECKING:
    from audiform.data.effect_recordings import Recordings


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
            evaluated(out, data, report, None)
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
        print_scores(header.scores)
        print(out)


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
