"""``audiform models``: what can be run, what it is allowed for, and where its files are."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiform.cli.exit_codes import errors_as_exit_codes

if TYPE_CHECKING:
    from audiform.checkpoints import CatalogEntry

app = typer.Typer(
    help="List, describe, fetch, verify and convert models.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class ExportFormat(StrEnum):
    """Formats of other programs that can be written."""

    demucs_hf = "demucs-hf"
    demucs_th = "demucs-th"


Name = Annotated[str, typer.Argument(help="A name of `audiform models list`, or a path.")]
Repo = Annotated[Path | None, typer.Option("--repo", help="Look in this folder instead.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(repo: Repo = None, as_json: AsJson = False) -> None:
    """List the released models, or those of a folder."""
    from audiform.checkpoints import list_models

    with errors_as_exit_codes():
        entries = list_models(repo)
        if as_json:
            print(json.dumps([_entry_record(entry) for entry in entries], indent=2))
            return
        _print_table(entries)


def _print_table(entries: list[CatalogEntry]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "networks", "stems", "what it is", "licence of the weights"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for entry in entries:
        summary = entry.summary
        if entry.missing:
            summary += f" [dim](needs {' and '.join(entry.missing)}: not yet)[/]"
        weights = entry.licence.weights.split(":")[0] if entry.licence.weights else "unknown"
        table.add_row(
            entry.name, str(len(entry.members)), " ".join(entry.sources), summary, weights
        )
    Console(highlight=False).print(table)
    print("\nWhat a licence says in full: audiform models info NAME")


def _entry_record(entry: CatalogEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "members": list(entry.members),
        "sources": list(entry.sources),
        "missing": list(entry.missing),
        "licence": entry.licence.model_dump(),
    }


@app.command()
def info(name: Name, repo: Repo = None, as_json: AsJson = False) -> None:
    """Describe a model: configuration, licences of code, weights and data, scores, files."""
    from audiform.checkpoints import describe

    with errors_as_exit_codes():
        about = describe(name, repo=repo)
        if as_json:
            print(json.dumps(about, indent=2, ensure_ascii=False))
        else:
            _print_nested(about)


def _print_nested(value: Any, *, indent: str = "") -> None:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value, 1):
        label = str(key).replace("_", " ")
        nested = isinstance(item, dict) or (
            isinstance(item, list) and any(isinstance(part, dict | list) for part in item)
        )
        if nested and item:
            print(f"{indent}{label}:")
            _print_nested(item, indent=indent + "  ")
        else:
            text = ", ".join(map(str, item)) if isinstance(item, list | tuple) else item
            print(f"{indent}{label}: {'-' if text in (None, '', {}) else text}")


@app.command()
def fetch(name: Name) -> None:
    """Download a model now, so that it works offline later."""
    from rich.progress import Progress

    from audiform.checkpoints import resolve

    with errors_as_exit_codes(), Progress(transient=True) as progress:
        task = progress.add_task("downloading")

        def on_progress(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        for member in resolve(name, on_progress=on_progress).members:
            print(f"{member.signature}: {member.path}")


@app.command()
def verify(name: Name, repo: Repo = None) -> None:
    """Check that a model's files are whole and can be loaded; nothing is fetched."""
    from audiform.checkpoints import verify as verify_files

    with errors_as_exit_codes():
        for file in verify_files(name, repo=repo):
            known = "as expected" if file.expected else "no checksum is known"
            print(f"{file.path}: whole; sha256 {file.sha256} ({known})")


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="A .th of Demucs, its hub's file, a .tar of SignalTrain, a .nam of Neural Amp "
            "Modeler, a .json of GuitarML."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The .safetensors to write.")],
) -> None:
    """Convert a checkpoint of another program into a file of ours."""
    from audiform.checkpoints import convert
    from audiform.errors import ConfigError

    with errors_as_exit_codes():
        if out.exists():
            raise ConfigError(f"{out} exists; delete it or choose another name")
        print(convert(file, out))


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="The adapter.safetensors of a training run.")],
    base: Annotated[str, typer.Option("--base", help="Name or path of what it was trained on.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The .safetensors to write.")],
) -> None:
    """Put a low-rank adapter into the weights of its base, as a checkpoint like any other."""
    from audiform.checkpoints.adapter import merge as merge_files
    from audiform.errors import ConfigError

    with errors_as_exit_codes():
        if out.exists():
            raise ConfigError(f"{out} exists; delete it or choose another name")
        print(merge_files(adapter, base, out))


@app.command()
def export(
    name: Name,
    to: Annotated[ExportFormat, typer.Option("--to", help="What to write.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write into.")] = Path(),
    repo: Repo = None,
) -> None:
    """Write a model in the format of another program.

    [bold]demucs-hf[/]: NAME.yaml and SIGNATURE.safetensors, for a repository on the Hugging Face
    hub or [dim]demucs --repo[/]; [bold]demucs-th[/]: one .th package.
    """
    from audiform.checkpoints import export_hub, export_th, resolve
    from audiform.errors import ConfigError

    with errors_as_exit_codes():
        package = resolve(name, repo=repo)
        if len(package.members) > 1:
            raise ConfigError(
                f"{package.name!r} is a bag of {len(package.members)} networks; export its members "
                f"one by one: {', '.join(member.signature for member in package.members)}"
            )
        checkpoint = package.members[0].read()
        out.mkdir(parents=True, exist_ok=True)
        if to is ExportFormat.demucs_th:
            print(export_th(checkpoint, out))
        else:
            for path in export_hub(checkpoint, out, name=package.name):
                print(path)
