"""``audiform data``: look at a dataset before training on it, or make one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiform.cli.exit_codes import SOME_FAILED, errors_as_exit_codes

if TYPE_CHECKING:
    from audiform.data.check import Report
    from audiform.evaluation.curation import Curation

#: Findings of one cause that are listed before the rest is only counted.
LISTED = 8

app = typer.Typer(
    help="Look at a dataset before training on it, or make one.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Root = Annotated[
    Path, typer.Argument(metavar="DIR", help="The dataset: a folder, or a list (.csv, .jsonl).")
]
LayoutName = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="Read it as this layout: csv, jsonl, stem-mp4, nam, signaltrain, in-out-folders, "
        "in-out-files, musdb, stem-folders or songs. Default: recognised.",
    ),
]
Mapping = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FROM=TO",
        help="Rename a stem, such as bass_gtr=bass; several with one name are summed, "
        "FROM= leaves one out. May be repeated.",
    ),
]
Exclusions = Annotated[
    Path | None,
    typer.Option("--exclude", help="List of what to leave out. Default: DIR/exclude.txt, if any."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def check(
    root: Root,
    layout: LayoutName = None,
    mapping: Mapping = None,
    exclusions: Exclusions = None,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=0, help="Processes; 0: one per core.")
    ] = 0,
    show_all: Annotated[
        bool, typer.Option("--all", help=f"List every finding, not {LISTED} of a kind.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Report everything that is wrong with a dataset, before it costs time on a GPU.

    Every file is decoded once. Errors spoil training, warnings may, notes are good to know; each
    comes with what to do. Leaves with 1 if there are errors.

    [dim]audiform data check musdb18hq/
    audiform data check songs/ --map bass_gtr=bass --map click=
    audiform data check songs/ --json > report.json[/]
    """
    with errors_as_exit_codes():
        from rich.console import Console
        from rich.progress import Progress

        from audiform.data.check import check_dataset

        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("tracks", total=None)

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            report = check_dataset(
                root,
                layout=layout,
                mapping=parse_mapping(mapping),
                exclusions=exclusions,
                num_processes=jobs or os.cpu_count() or 1,
                on_progress=on_progress,
            )
        if as_json:
            print(report.to_json())
        else:
            _print_report(report, show_all=show_all)
        if report.has_errors:
            raise typer.Exit(SOME_FAILED)


@app.command()
def repair(
    root: Root,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the copies; empty or new.")],
    layout: LayoutName = None,
    as_json: AsJson = False,
) -> None:
    """Write copies of an effect's recordings with delay, lengths and clocks set right.

    The originals stay as they are. What a copy cannot mend (drop-outs, lost samples, files that
    do not belong together) is said, and leaves with 1.

    [dim]audiform data repair recordings/ -o repaired/[/]
    """
    with errors_as_exit_codes():
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress

        from audiform.data.effect_repair import repair_pairs

        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("pairs", total=None)

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            repairs = repair_pairs(root, out, layout=layout, on_progress=on_progress)
        if as_json:
            print(json.dumps([asdict(repaired) for repaired in repairs], indent=1))
        else:
            console = Console(highlight=False)
            for repaired in repairs:
                console.print(f"[bold]{escape(repaired.track)}[/]")
                for line in repaired.done:
                    console.print(f"  {escape(line)}")
                if repaired.is_written and not repaired.done:
                    console.print("  nothing to do, copied")
                for line in repaired.unmended:
                    console.print(f"  [red]not mended[/] {escape(line)}")
                if not repaired.is_written:
                    console.print("  [red]left out[/]")
            print(f"{sum(repaired.is_written for repaired in repairs)} of {len(repairs)} in {out}")
        if any(repaired.unmended for repaired in repairs):
            raise typer.Exit(SOME_FAILED)


@app.command()
def automix(
    root: Root,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the mixes.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Mixes to make.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same mixes.")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", min=5.0, help="Length of a mix.")] = 30.0,
    layout: LayoutName = None,
    mapping: Mapping = None,
    exclusions: Exclusions = None,
    as_json: AsJson = False,
) -> None:
    """Make songs out of stems of different songs that fit in tempo, beat and key.

    The drums give the tempo. What needs more than 15 % of tempo or 3 semitones is refused. Mixes
    that are there already are kept.

    [dim]audiform data automix musdb18hq/ -o mixes/ --count 500[/]
    """
    with errors_as_exit_codes():
        from rich.console import Console
        from rich.progress import Progress

        from audiform.augment.automix import AutomixConfig
        from audiform.data.layouts import read_tracks
        from audiform.recipes.automix_songs import render_automix

        tracks = read_tracks(
            root, layout=layout, mapping=parse_mapping(mapping), exclusions=exclusions
        )
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("mixes", total=count)

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            report = render_automix(
                tracks,
                out,
                sources=tuple(dict.fromkeys(name for track in tracks for name in track.sources)),
                count=count,
                seed=seed,
                config=AutomixConfig(seconds=seconds),
                on_progress=on_progress,
            )
        if as_json:
            folders = [str(folder) for folder in report.folders]
            print(json.dumps({"mixes": folders, "refusals": report.refusals}, indent=1))
            return
        print(f"{len(report.folders)} mixes in {out}")
        for reason, times in report.refusals.items():
            print(f"  {times} x {reason}")


@app.command()
def render(
    samples: Annotated[
        Path,
        typer.Argument(metavar="SAMPLES", help="Folder of single sounds with an index.csv."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the songs.")],
    songs: Annotated[int, typer.Option("--songs", min=1, help="Songs to make.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same songs.")] = 0,
    seconds: Annotated[
        float, typer.Option("--seconds", min=4.0, help="Length of a song, to the nearest bar.")
    ] = 75.0,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes; 0: one per core.")
    ] = 0,
    share_alike: Annotated[
        bool,
        typer.Option(
            "--share-alike", help="Use sounds under CC BY-SA as well; songs are then under it, too."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make songs in stems out of single sounds: hits, notes, voices, rooms.

    Each song has a style, a form, a tempo, a key and a mix of its own; voices sing. Songs that
    are there already are kept, so that a run that was cut short goes on. What was drawn is in
    each song's song.json.

    [dim]audiform data render samples/ -o corpus/rendered --songs 1000 --seed 1[/]
    """
    with errors_as_exit_codes():
        from rich.console import Console
        from rich.progress import Progress

        from audiform.data.rendering.folder import RenderConfig, render_folder

        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("songs", total=songs)

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            folders = render_folder(
                samples,
                out,
                RenderConfig(songs=songs, seconds=seconds, seed=seed, share_alike=share_alike),
                num_workers=workers or os.cpu_count() or 1,
                on_progress=on_progress,
            )
        if as_json:
            print(json.dumps({"songs": [str(folder) for folder in folders]}, indent=1))
        else:
            print(f"{len(folders)} songs in {out}")


@app.command()
def curate(
    root: Root,
    model: Annotated[
        str, typer.Option("--model", "-n", help="A name of `audiform models list`, or a path.")
    ] = "default",
    layout: LayoutName = None,
    mapping: Mapping = None,
    exclusions: Exclusions = None,
    pieces: Annotated[
        int, typer.Option("--pieces", min=1, help="Loudest pieces of 12 s to hear of a stem.")
    ] = 2,
    min_own: Annotated[
        float,
        typer.Option(
            "--min-own", min=0, max=1, help="Less than this under its own name: mislabelled."
        ),
    ] = 0.5,
    max_leak: Annotated[
        float,
        typer.Option("--max-leak", min=0, max=1, help="More than this under another name: leaks."),
    ] = 0.15,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Write the list of what is left out, such as DIR/exclude.txt."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find stems that are not what their name says, by hearing them with a trained model.

    Each stem alone is taken apart; shares are of the energy that comes out. A stem whose energy
    comes out under another name is mislabelled, one with a part of another in it leaks. Stems
    named 'other', and those that the model has no source for, are measured and not judged: map
    the latter. The list that is written is honoured by everything that reads the dataset.

    [dim]audiform data curate songs/ -o songs/exclude.txt
    audiform data curate songs/ --model htdemucs --map guitar=other --json[/]
    """
    with errors_as_exit_codes():
        from rich.console import Console
        from rich.progress import Progress

        from audiform.data.exclude import write_exclusions
        from audiform.data.layouts import read_tracks
        from audiform.evaluation.curation import CurationRule
        from audiform.evaluation.curation import curate as listen

        tracks = read_tracks(
            root, layout=layout, mapping=parse_mapping(mapping), exclusions=exclusions
        )
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("stems", total=None)

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            found = listen(
                Path(model) if Path(model).is_file() else model,
                tracks,
                rule=CurationRule(min_own_share=min_own, max_leak_share=max_leak),
                num_pieces=pieces,
                on_progress=on_progress,
            )
        if out is not None:
            comment = f"left out by audiform data curate --model {found.model}\n{found.rule}"
            write_exclusions(out, found.left_out(), comment=comment)
        if as_json:
            print(found.to_json())
        else:
            _print_curation(found)


def _print_curation(found: Curation) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"mislabelled": "red", "leaks": "yellow", "right": "green"}
    sources = list(found.stems[0].shares) if found.stems else []
    table = Table(box=None, pad_edge=False)
    for heading in ("track", "stem", *sources, "verdict"):
        table.add_column(heading, justify="right" if heading in sources else "left")
    for stem in found.stems:
        verdict = f"[{colours.get(stem.verdict, 'dim')}]{stem.verdict}[/]"
        if stem.verdict in ("mislabelled", "leaks"):
            verdict += f" ({stem.suspect} {stem.leak_share:.2f})"
        shares = [f"{stem.shares[source]:.2f}" for source in sources]
        table.add_row(escape(stem.track), escape(stem.stem), *shares, verdict)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\n{found.rule}")
    for track, name in found.left_out():
        console.print(f"left out: {escape(track)}{'' if name is None else f', {escape(name)}'}")


def parse_mapping(texts: list[str] | None) -> dict[str, str]:
    """Read ``FROM=TO`` texts; raises :class:`ConfigError`."""
    from audiform.errors import ConfigError

    mapping = {}
    for text in texts or []:
        name, equals, new_name = text.partition("=")
        if not name.strip() or not equals:
            raise ConfigError(f"--map takes FROM=TO, got {text!r}; such as --map bass_gtr=bass")
        mapping[name.strip()] = new_name.strip()
    return mapping


def _print_report(report: Report, *, show_all: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from audiform.data.check.report import relative
    from audiform.data.findings import Level

    console = Console(highlight=False)
    minutes, seconds = divmod(round(report.duration_seconds), 60)
    stems = ", ".join(f"{name} ({count})" for name, count in report.stems.items())
    splits = ", ".join(f"{name} {count}" for name, count in report.splits.items())
    console.print(
        f"{escape(str(report.root))}: layout {report.layout}, {report.num_tracks} tracks"
        + (f" ({splits})" if splits else "")
        + f", {report.num_files} files, {minutes} min {seconds} s"
    )
    console.print(f"stems: {escape(stems) or 'none'}\n")
    colours = {Level.error: "red", Level.warning: "yellow", Level.note: "cyan"}
    for (level, cause), findings in report.by_cause().items():
        shown = findings if show_all else findings[:LISTED]
        count = f" ({len(findings)})" if len(findings) > 1 else ""
        console.print(f"[bold {colours[level]}]{level.value}[/] [bold]{escape(cause)}[/]{count}")
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        table.add_column(overflow="fold", ratio=2)
        table.add_column(overflow="fold", ratio=5)
        for finding in shown:
            place = finding.track or "all"
            if finding.path is not None:
                place = str(relative(finding.path, report.root))
            table.add_row(
                escape(place), f"{escape(finding.message)}; [dim]{escape(finding.cure)}[/]"
            )
        console.print(table)
        if len(shown) < len(findings):
            console.print(f"  [dim]and {len(findings) - len(shown)} more: --all[/]")
        console.print()
    counts = [f"{report.count(level)} {level.value}s" for level in Level]
    console.print(f"[bold]{', '.join(counts)}[/]" if report.findings else "[bold]nothing wrong[/]")
