"""``audiform bench``: our programs against others on this machine."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiform.cli.exit_codes import errors_as_exit_codes

if TYPE_CHECKING:
    from audiform.bench.process import FinishedProcess

app = typer.Typer(help="Measure against other programs on this machine.", no_args_is_help=True)


class Peer(StrEnum):
    """Programs to compare with."""

    demucs = "demucs"


@app.command("separate")
def separate(
    songs: Annotated[
        list[Path] | None,
        typer.Argument(help="Songs to separate. Default: made-up music of --seconds."),
    ] = None,
    against: Annotated[Peer, typer.Option("--against", help="The program to compare with.")] = (
        Peer.demucs
    ),
    python: Annotated[
        str, typer.Option("--python", help="The Python that has it. Default: this one.")
    ] = sys.executable,
    name: Annotated[
        str | None,
        typer.Option("-n", "--name", help="Model in --repo. Default: the shape of htdemucs with "
                     "random weights."),
    ] = None,
    repo: Annotated[
        Path | None,
        typer.Option("--repo", help="Folder of checkpoints that both programs read.",
                     exists=True, file_okay=False),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="Length of the made-up music.")
    ] = 60.0,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed runs of each.")] = 3,
    exact: Annotated[
        bool, typer.Option("--exact", help="Ours in torch and fp32, instead of its own choice.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """Separate the same songs with the same weights by both programs, in turn, several times.

    Says the medians of the times of whole processes, their ratio, the peaks of memory, and how
    far the stems lie apart.
    """
    with errors_as_exit_codes():
        if (name is None) != (repo is None):
            raise typer.BadParameter("--name and --repo go together")
        from audiform.bench.separate import (
            check_peer,
            compare_with_demucs,
            write_random_htdemucs,
            write_song,
        )

        check_peer(python)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            model = name if name is not None else write_random_htdemucs(folder / "repo")
            found = compare_with_demucs(
                songs=songs or [write_song(folder / "song.wav", seconds=seconds)],
                model=model, repo=repo or folder / "repo", folder=folder, repeats=repeats,
                exact=exact, python=python, on_run=None if as_json else _print_run,
            )  # fmt: skip
        record = {"against": against.value, "machine": _machine(), **asdict(found)}
        if as_json:
            print(json.dumps(record))
        else:
            _print_table(record)


def _print_run(who: str, run: FinishedProcess) -> None:
    print(f"{who}: {run.seconds:.1f} s, {run.peak_mb:.0f} MB", file=sys.stderr)


def _machine() -> str:
    import torch

    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _print_table(record: dict[str, Any]) -> None:
    for key, value in record.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"{key.replace('_', ' '):20} {shown}")
