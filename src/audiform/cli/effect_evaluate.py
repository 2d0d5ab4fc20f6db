"""``audiform effect evaluate``: a learned effect scored on recordings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiform.cli.effect_scores import number, print_scores
from audiform.cli.exit_codes import errors_as_exit_codes

if TYPE_CHECKING:
    from audiform.evaluation.effect_evaluation import EffectEvaluation


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a learned effect on recordings, next to what needs no learning.

    Recordings for a test count, or else the end of each recording, as much as was held out in
    training: of the recordings that it was trained on, what it has not heard.

    [dim]audiform effect evaluate pedal.safetensors recordings/ --report pedal.html[/]
    """
    with errors_as_exit_codes():
        from dataclasses import asdict

        found = evaluated(file, data, report, score_only)
        if out is not None:
            from audiform.io.write import PART_SUFFIX

            aside = out.with_name(out.name + PART_SUFFIX)
            aside.write_text(found.to_lines(), encoding="utf-8")
            aside.replace(out)
        if as_json:
            whole, *takes = found.records()
            print(json.dumps({**whole, "takes": takes}, default=str))
            return
        print_scores(
            {
                "on": found.data["on"],
                "mean": found.records()[0]["mean"],
                "takes": [asdict(take) for take in found.takes],
            }
        )
        for kind, value in (("seen in training", found.seen), ("never seen", found.unseen)):
            if value is not None:
                print(f"ESR at settings {kind}: {number(value)}")
        print(found.behaviour.sentence())
        if report is not None:
            print(report)


def evaluated(
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
