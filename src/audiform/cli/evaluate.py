"""``audiform evaluate``: a model, or audio that any program has separated, against true stems."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiform.cli.exit_codes import errors_as_exit_codes

if TYPE_CHECKING:
    from audiform.evaluation import Evaluation


def evaluate(
    name: Annotated[
        str | None, typer.Argument(help="Model: a name, or the path of a checkpoint.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Songs with stems, in any layout of `audiform data check`."),
    ] = None,
    estimates: Annotated[
        Path | None,
        typer.Option("--estimates", help="Instead of a model: SONG/STEM.wav, or STEM.wav."),
    ] = None,
    references: Annotated[
        Path | None, typer.Option("--references", help="The true stems, under the same names.")
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Some of bsseval,mdx,sisdr,bleed,silence.")
    ] = "bsseval,mdx,sisdr,bleed,silence",
    stems: Annotated[
        str, typer.Option("--stems", metavar="A,B", help="Of estimates: score only these.")
    ] = "",
    fit_length: Annotated[
        bool,
        typer.Option("--fit-length", help="Cut or pad estimates to their references, as museval."),
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="SONG", help="Score only this song.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Score only this part: train, valid, test.")
    ] = None,
    start: Annotated[
        float, typer.Option("--start", min=0, metavar="SECONDS", help="Skip the beginning.")
    ] = 0.0,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.1, help="Score so much of each song. Default: all."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Scores as JSON lines, written song by song."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with -o where it ended.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="A page with plots, pictures and sound.")
    ] = None,
    excerpt: Annotated[
        float,
        typer.Option("--excerpt", min=0, metavar="SECONDS", help="Sound per song in the report."),
    ] = 6.0,
    date: Annotated[str, typer.Option("--date", help="Date to print in the report.")] = "",
    device: Annotated[
        str, typer.Option("-d", "--device", help="auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    shifts: Annotated[
        int, typer.Option("--shifts", min=0, help="Average over so many shifted passes.")
    ] = 0,
    overlap: Annotated[
        float | None, typer.Option("--overlap", help="Overlap of segments. Default: the model's.")
    ] = None,
    segment: Annotated[
        float | None, typer.Option("--segment", help="Segment, seconds. Default: the model's.")
    ] = None,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="Folder to look up the model in.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Score a model on songs with known stems, or a folder of estimates against references.

    Every figure stands next to what the mixture scores as its own estimate, and what an ideal
    ratio mask scores.
    """
    with errors_as_exit_codes():
        from audiform.errors import ConfigError
        from audiform.evaluation import evaluate as evaluate_model
        from audiform.evaluation import evaluate_estimates

        common: dict[str, Any] = {
            "metrics": [metric.strip() for metric in metrics.split(",") if metric.strip()],
            "only": tuple(only or ()),
            "start_seconds": start,
            "duration_seconds": seconds,
            "out": out,
            "resume": resume,
        }
        if resume and out is None:
            raise ConfigError("--resume needs the file to go on with; add -o scores.jsonl")
        if name is not None and data is not None and estimates is None and references is None:
            if stems or fit_length:
                raise ConfigError("--stems and --fit-length are for --estimates")
            settings = {
                "device": device,
                "shifts": shifts,
                "overlap": overlap,
                "segment_seconds": segment,
            }
            changed = {
                key: value for key, value in settings.items() if value not in (None, 0, "auto")
            }
            found = _run(
                evaluate_model,
                Path(name) if Path(name).is_file() else name,
                data,
                report=report,
                excerpt_seconds=excerpt,
                date=date,
                split=split,
                settings=changed,
                repo=repo,
                **common,
            )
        elif estimates is not None and references is not None and name is None and data is None:
            if split is not None:
                raise ConfigError("--split is for --data")
            found = _run(
                evaluate_estimates,
                estimates,
                references,
                report=report,
                excerpt_seconds=excerpt,
                date=date,
                stems=tuple(stem.strip() for stem in stems.split(",") if stem.strip()),
                fit_length=fit_length,
                **common,
            )
        else:
            raise ConfigError(
                "give a model and --data SONGS, or --estimates DIR and --references DIR"
            )
        print(found.to_json() if as_json else found.table())


def _run(
    score: Callable[..., Evaluation],
    *what: object,
    report: Path | None,
    excerpt_seconds: float,
    date: str,
    **options: Any,
) -> Evaluation:
    """Score with a progress bar, and write the report if one is wanted."""
    from rich.console import Console
    from rich.progress import Progress

    from audiform.evaluation.report import Report

    page = None if report is None else Report(excerpt_seconds=excerpt_seconds)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("songs")

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        found = score(
            *what,
            on_song=None if page is None else page.add,
            on_progress=on_progress,
            **options,
        )
    if page is not None and report is not None:
        page.write(report, found, command=shlex.join(["audiform", *sys.argv[1:]]), date=date)
    return found
