"""``audiform evaluate``: a model scored on songs whose stems are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audiform.cli.exit_codes import errors_as_exit_codes


def evaluate(
    name: Annotated[str, typer.Argument(help="Model: a name, or the path of a checkpoint.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Folder of songs: SONG/drums.wav ...", exists=True, file_okay=False
        ),
    ],
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="SONG", help="Score only this song.")
    ] = None,
    start: Annotated[
        float, typer.Option("--start", min=0, metavar="SECONDS", help="Skip the beginning.")
    ] = 0.0,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.1, help="Score so much of each song. Default: all."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Keep the scores as JSON here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a model on songs with known stems.

    SDR over the whole song (10 log10 of the energy of the true stem over that of the error), next
    to what the mixture scores as its own estimate, and what an ideal ratio mask scores.
    """
    with errors_as_exit_codes():
        from rich.console import Console
        from rich.progress import Progress

        from audiform.evaluation import evaluate as score

        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("songs")

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            found = score(
                Path(name) if Path(name).is_file() else name,
                data,
                start_seconds=start,
                duration_seconds=seconds,
                only=tuple(only or ()),
                on_progress=on_progress,
            )
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(found.to_json() + "\n", encoding="utf-8")
        print(found.to_json() if as_json else found.table())
