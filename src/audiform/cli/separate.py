"""``audiform separate``: songs into stems, with Demucs' flags and their meaning."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from audiform.cli.exit_codes import SOME_FAILED, errors_as_exit_codes

if TYPE_CHECKING:
    from audiform.errors import AudiformError
    from audiform.inference.batch import Job, JobResult
    from audiform.inference.file_job import OutputOptions
    from audiform.inference.separator import Separator

_INPUT = "Input and model"
_STEMS = "Stems"
_FILES = "Output files"
_ENGINE = "Speed and quality"
_RUN = "Run"


class Format(StrEnum):
    """File formats; the same names as ``audiform.io.WRITERS``, which a test compares."""

    wav = "wav"
    flac = "flac"
    mp3 = "mp3"
    m4a = "m4a"
    ogg = "ogg"
    opus = "opus"


class ClipModeName(StrEnum):
    """See ``audiform.inference.clipping``."""

    common = "common"
    rescale = "rescale"
    clamp = "clamp"
    none = "none"


class OtherMethodName(StrEnum):
    """See ``audiform.inference.selection``."""

    none = "none"
    add = "add"
    minus = "minus"


class BackendName(StrEnum):
    """See ``audiform.inference.backends.choice``."""

    auto = "auto"
    torch = "torch"
    openvino = "openvino"


class PrecisionName(StrEnum):
    """See ``audiform.inference.backends.choice``."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class QualityName(StrEnum):
    """See ``audiform.inference.quality``."""

    fast = "fast"
    balanced = "balanced"
    best = "best"


class Compat(StrEnum):
    """Programs whose defaults can be had."""

    demucs = "demucs"


def _in(panel: str, *names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **more)


def separate(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Audio files, folders, or patterns such as 'songs/*.mp3'."),
    ] = None,
    name: Annotated[
        str | None,
        _in(_INPUT, "-n", "--name", "-s", "--sig",
            help="Model: a name of [bold]audiform models list[/], a signature, or the path of a "
            "checkpoint. Default: the one in the package."),
    ] = None,
    repo: Annotated[
        Path | None,
        _in(_INPUT, "--repo", help="Folder of checkpoints in which to look the model up.",
            exists=True, file_okay=False),
    ] = None,
    offline: Annotated[
        bool, _in(_INPUT, "--offline", help="Never download anything.")
    ] = False,
    recursive: Annotated[
        bool, _in(_INPUT, "-r", "--recursive", help="Go down into subfolders and keep their tree.")
    ] = False,
    list_models: Annotated[
        bool, _in(_INPUT, "--list-models", help="Print the names of all models and exit.")
    ] = False,
    two_stems: Annotated[
        str | None,
        _in(_STEMS, "--two-stems", metavar="STEM", help="Only STEM and the rest, no_STEM."),
    ] = None,
    other_method: Annotated[
        OtherMethodName,
        _in(_STEMS, "--other-method",
            help="How to get the rest: 'add' the other stems (default), the mix 'minus' the stem "
            "(written as minus_STEM), or 'none' of it."),
    ] = OtherMethodName.add,
    residual: Annotated[
        bool,
        _in(_STEMS, "--residual",
            help="Also write the mix less all other outputs: with it they sum to the mix."),
    ] = False,
    keep_vocal_free: Annotated[
        bool,
        _in(_STEMS, "--keep-vocal-free",
            help="Leave stretches in which nobody sings as they are in the song; for models with "
            "one mask, such as a frame-transformer of two stems."),
    ] = False,
    out: Annotated[
        Path, _in(_FILES, "-o", "--out", help="Output folder. Default: separated.")
    ] = Path("separated"),
    filename: Annotated[
        str,
        _in(_FILES, "--filename",
            help="Path below OUT/MODEL; variables {track} {trackext} {stem} {ext}. "
            "Default: {track}/{stem}.{ext}"),
    ] = "{track}/{stem}.{ext}",
    format: Annotated[
        Format | None, _in(_FILES, "--format", help="File format. Default: wav.")
    ] = None,
    mp3: Annotated[bool, _in(_FILES, "--mp3", help="The same as --format mp3.")] = False,
    flac: Annotated[bool, _in(_FILES, "--flac", help="The same as --format flac.")] = False,
    int24: Annotated[
        bool, _in(_FILES, "--int24", help="24 bits. Default: the bit depth of the input.")
    ] = False,
    float32: Annotated[
        bool, _in(_FILES, "--float32", help="32-bit float WAV, never clipped or rescaled.")
    ] = False,
    mp3_bitrate: Annotated[
        int | None,
        _in(_FILES, "--mp3-bitrate", "--bitrate",
            help="kbit/s of mp3, m4a and opus. Default: 320, 256, 192."),
    ] = None,
    mp3_preset: Annotated[
        int,
        _in(_FILES, "--mp3-preset", min=2, max=7, help="MP3 encoder: 2 best (default), 7 fastest."),
    ] = 2,
    rate: Annotated[
        str | None,
        _in(_FILES, "--rate", metavar="input|model|HZ",
            help="Sample rate of the stems. Default: that of the input."),
    ] = None,
    clip_mode: Annotated[
        ClipModeName | None,
        _in(_FILES, "--clip-mode",
            help="Against clipping: one 'common' gain for all stems (default; float is left "
            "alone), 'rescale' each stem, 'clamp' peaks, or 'none'."),
    ] = None,
    no_tags: Annotated[
        bool, _in(_FILES, "--no-tags", help="Do not copy tags and cover picture.")
    ] = False,
    device: Annotated[
        str,
        _in(_ENGINE, "-d", "--device",
            help="auto, cpu, cuda, cuda:1 or mps. Default: the fastest present; one that is named "
            "and absent is an error. Several, as 'cuda:0,cuda:1': a process for each, and files "
            "go to whichever is free."),
    ] = "auto",
    backend: Annotated[
        BackendName | None,
        _in(_ENGINE, "--backend",
            help="What runs the network: torch, openvino (an extra), or 'auto' (default): the "
            "fastest here, found out once for each model."),
    ] = None,
    precision: Annotated[
        PrecisionName | None,
        _in(_ENGINE, "--precision",
            help="What the network is calculated in: fp32, bf16, fp16, or 'auto' (default): the "
            "fastest that stays 35 dB from fp32."),
    ] = None,
    quality: Annotated[
        QualityName | None,
        _in(_ENGINE, "--quality",
            help="'fast': segments share less; 'balanced' (default); 'best': two passes, in fp32. "
            "--overlap, --shifts and --precision go before it."),
    ] = None,
    max_memory: Annotated[
        float | None,
        _in(_ENGINE, "--max-memory", metavar="MB", min=1,
            help="The most memory to hold; too little for one segment is an error."),
    ] = None,
    shifts: Annotated[
        str | None,
        _in(_ENGINE, "--shifts", metavar="N|half",
            help="Average over N passes with the song delayed by up to 0.5 s, or over two whose "
            "borders lie 'half' a segment apart: slower, a little better. Default: as --quality."),
    ] = None,
    seed: Annotated[
        int, _in(_ENGINE, "--seed", help="Seed of the delays of --shifts. Default: 0.")
    ] = 0,
    overlap: Annotated[
        float | None,
        _in(_ENGINE, "--overlap", help="Share of a segment that overlaps the next: 0 to below 1."),
    ] = None,
    segment: Annotated[
        float | None,
        _in(_ENGINE, "--segment", metavar="SECONDS", help="Length of a segment; less takes less "
            "memory. Default: the model's own."),
    ] = None,
    no_split: Annotated[
        bool, _in(_ENGINE, "--no-split", help="The whole song as one segment: much memory.")
    ] = False,
    batch_size: Annotated[
        int | None,
        _in(_ENGINE, "--batch-size", min=1,
            help="Segments at once; halved when memory is short. Default: 1 on a CPU, 4 on a GPU."),
    ] = None,
    jobs: Annotated[
        int,
        _in(_ENGINE, "-j", "--jobs", min=0, help="Batches side by side on the CPU; each takes its "
            "own memory."),
    ] = 0,
    skip_existing: Annotated[
        bool, _in(_RUN, "--skip-existing", help="Leave out files whose stems are all there.")
    ] = False,
    report: Annotated[
        Path | None, _in(_RUN, "--report", help="Append a JSON line per file to REPORT.")
    ] = None,
    compat: Annotated[
        Compat | None,
        _in(_RUN, "--compat",
            help="'demucs': its defaults where ours differ: htdemucs, 16 bits, the model's rate, "
            "each stem rescaled, one shift (seeded), the mean of the mix in every stem, torch in "
            "fp32."),
    ] = None,
    as_json: Annotated[
        bool, _in(_RUN, "--json", help="Print a JSON line per file instead of text and bars.")
    ] = False,
    verbose: Annotated[
        bool, _in(_RUN, "-v", "--verbose", help="Say more about model, device and gains.")
    ] = False,
) -> None:  # fmt: skip
    """Take songs apart into stems.

    Any format, any length, in constant memory. Stems have the length, sample rate, channels,
    bit depth and tags of the song and go to [bold]OUT/MODEL/TRACK/STEM.wav[/].

    [dim]audiform separate song.mp3
    audiform separate -r music/ --format flac --skip-existing
    audiform separate song.mp3 --two-stems vocals   (karaoke: no_vocals.wav)[/]
    """
    with errors_as_exit_codes():
        if list_models:
            _print_models(repo)
            return
        if not inputs:
            raise typer.BadParameter("name at least one audio file or folder", param_hint="INPUTS")
        options = _output_options(
            format=_one_format(format, mp3=mp3, flac=flac),
            int24=int24, float32=float32, bitrate_kbps=mp3_bitrate, mp3_preset=mp3_preset,
            rate=rate, clip_mode=clip_mode.value if clip_mode else None, two_stems=two_stems,
            other_method=other_method.value, residual=residual, keep_tags=not no_tags,
            compat=compat,
        )  # fmt: skip
        if no_split and segment is not None:
            raise typer.BadParameter("--no-split and --segment exclude each other")
        if overlap is None and compat:
            overlap = 0.25

        from audiform.cli.allocator import keep_freed_memory

        keep_freed_memory()
        from audiform.io import expand_inputs

        model = name or ("htdemucs" if compat else "default")
        files, unusable = expand_inputs(inputs, recursive=recursive)
        named = {Path(text).resolve() for text in inputs}
        files = [
            file  # stems of an earlier run are no songs, unless they are named one by one
            for file in files
            if out.resolve() not in file.path.resolve().parents or file.path.resolve() in named
        ]
        display = _Display(as_json=as_json, verbose=verbose, num_files=len(files))
        with display:
            for failure in unusable:
                display.unusable(failure)
            failed = len(unusable)
            if files:
                devices = [text.strip() for text in device.split(",")]
                arguments: dict[str, Any] = dict(
                    model=model, segment_seconds=segment, split=not no_split,
                    overlap=overlap, shifts=_shifts(shifts, compat), seed=seed,
                    batch_size=batch_size,
                    num_workers=max(1, jobs),
                    backend=backend.value if backend else "torch" if compat else "auto",
                    precision=precision.value if precision else None,
                    quality=quality.value if quality else None if compat else "balanced",
                    max_memory_mb=max_memory,
                    repo=repo, offline=offline,
                    restore_offset=compat is not None,
                )  # fmt: skip
                failed += _run(
                    devices, arguments, keep_vocal_free, files, options, out=out,
                    template=filename, skip_existing=skip_existing, report=report,
                    display=display,
                )  # fmt: skip
            display.summary(failed)
        if failed:
            raise typer.Exit(SOME_FAILED)


def _run(
    devices: list[str],
    arguments: dict[str, Any],
    keep_vocal_free: bool,
    files: list[Any],
    options: OutputOptions,
    *,
    out: Path,
    template: str,
    skip_existing: bool,
    report: Path | None,
    display: _Display,
) -> int:
    from audiform.cli.allocator import keep_freed_memory
    from audiform.inference.batch import Report, plan_jobs, run_jobs
    from audiform.inference.device import choose_device
    from audiform.inference.several_devices import SeparatorSettings, run_jobs_on

    settings = SeparatorSettings(arguments, keep_vocal_free=keep_vocal_free)
    chosen = [choose_device(name) for name in devices]
    separator = settings.build(devices[0], on_download=display.on_download)
    jobs = plan_jobs(
        files,
        options.selection(separator.sources).names,
        folder=out / separator.name.replace("/", "_"),
        extension=options.extension,
        template=template,
    )
    if len(chosen) == 1:
        separator.load(options.selection(separator.sources).needed_sources)
        results = run_jobs(
            separator, jobs, options, skip_existing=skip_existing, on_start=display.start
        )
    else:
        results = run_jobs_on(
            devices, settings, jobs, options,
            skip_existing=skip_existing, on_begin=keep_freed_memory,
        )  # fmt: skip
    display.model(separator, devices=[str(one.device) for one in chosen])
    lines = Report(report) if report is not None else None
    failed = 0
    try:
        for result in results:
            failed += result.status == "failed"
            display.result(result)
            if lines is not None:
                lines.add(result)
    finally:
        if lines is not None:
            lines.close()
    return failed


def _shifts(asked: str | None, compat: Compat | None) -> int | Literal["half"] | None:
    if asked is None:
        return 1 if compat else None
    if asked == "half":
        return "half"
    if not asked.isdecimal():
        raise typer.BadParameter(
            f"{asked!r} is no number of passes; give 0 or more, or 'half'", param_hint="--shifts"
        )
    return int(asked)


def _one_format(format: Format | None, *, mp3: bool, flac: bool) -> str:
    wanted = {
        *([format.value] if format else []),
        *(["mp3"] if mp3 else []),
        *(["flac"] if flac else []),
    }
    if len(wanted) > 1:
        raise typer.BadParameter(f"{' and '.join(sorted(wanted))} exclude each other")
    return wanted.pop() if wanted else "wav"


def _output_options(
    *,
    int24: bool,
    float32: bool,
    rate: str | None,
    compat: Compat | None,
    **more: Any,
) -> OutputOptions:
    from audiform.inference.file_job import OutputOptions

    if int24 and float32:
        raise typer.BadParameter("--int24 and --float32 exclude each other")
    depth = 24 if int24 else 32 if float32 else None
    if compat is Compat.demucs:
        depth = depth or 16
        rate = rate or "model"
        more["clip_mode"] = more["clip_mode"] or "rescale"
    rate = rate or "input"
    return OutputOptions(bit_depth=depth, rate=int(rate) if rate.isdigit() else rate, **more)


def _print_models(repo: Path | None) -> None:
    from audiform.checkpoints import list_models

    for entry in list_models(repo):
        print(entry.name)


class _Remarks(logging.Handler):
    """Prints what the library has to say on the way, on standard error."""

    def __init__(self, console: Any) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one remark."""
        self._console.print(record.getMessage(), markup=False)


class _Display:
    """What people see: bars on standard error, a line per file on standard output.

    With ``as_json`` only JSON lines on standard output.
    """

    def __init__(self, *, as_json: bool, verbose: bool, num_files: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._json = as_json
        self._verbose = verbose
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=self._console, disable=as_json or not self._console.is_terminal,
        )  # fmt: skip
        self._num_files = num_files
        self._all: Any = None
        self._one: Any = None
        self._counts = {"done": 0, "skipped": 0, "failed": 0}
        self._remarks = _Remarks(self._console)

    def __enter__(self) -> _Display:
        self._progress.start()
        log = logging.getLogger("audiform.inference")
        log.setLevel(logging.WARNING if self._json else logging.INFO)
        log.addHandler(self._remarks)
        if self._num_files > 1:
            self._all = self._progress.add_task(f"{self._num_files} files", total=self._num_files)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("audiform.inference").removeHandler(self._remarks)
        self._progress.stop()

    def on_download(self, done: int, total: int | None) -> None:
        """Draw a download."""
        if self._one is None:
            self._one = self._progress.add_task("downloading the model", total=total)
        self._progress.update(self._one, completed=done, total=total)

    def model(self, separator: Separator, *, devices: list[str]) -> None:
        """Say which model runs where, and why there."""
        self._end_bar()
        if self._json:
            return
        members = f" ({separator.num_members} networks)" if separator.num_members > 1 else ""
        if len(devices) > 1:
            self._console.print(f"{separator.name}{members} on {', '.join(devices)}, side by side")
            return
        device = separator.device
        self._console.print(f"{separator.name}{members} on {device.device} ({device.reason})")
        for chosen in dict.fromkeys(map(str, separator.backends)):
            self._console.print(f"run by {chosen}")
        if self._verbose:
            spec = separator.spec
            self._console.print(
                f"stems {', '.join(spec.sources)}; {spec.sample_rate} Hz; segments of "
                f"{spec.segment_samples / spec.sample_rate:.1f} s"
            )

    def start(self, job: Job) -> Any:
        """Begin a file's bar; return what moves it."""
        self._one = self._progress.add_task(job.input.name, total=None)

        def on_progress(done: int, total: int | None) -> None:
            self._progress.update(self._one, completed=done, total=total)

        return on_progress

    def unusable(self, failure: AudiformError) -> None:
        """Show an input that is no file to work on."""
        self._counts["failed"] += 1
        if self._json:
            path = getattr(failure, "path", None)
            self._print_json({"input": str(path), "status": "failed", "error": str(failure)})
        else:
            print(f"failed: {failure}", file=sys.stderr)

    def result(self, result: JobResult) -> None:
        """Show what became of a file."""
        self._end_bar()
        self._counts[result.status] += 1
        if self._all is not None:
            self._progress.advance(self._all)
        if self._json:
            self._print_json(result.record())
        elif result.status == "failed":
            print(f"failed: {result.error}", file=sys.stderr)
        elif result.status == "skipped":
            print(f"{result.input}: skipped, its stems are there")
        else:
            self._print_done(result)

    def _print_done(self, result: JobResult) -> None:
        folders = sorted({str(path.parent) for path in result.outputs.values()})
        seconds = result.duration_seconds or 0.0
        speed = seconds / max(result.elapsed_seconds, 1e-9)
        print(
            f"{result.input} -> {', '.join(folders)}: {', '.join(result.outputs)} "
            f"({seconds:.1f} s in {result.elapsed_seconds:.1f} s, {speed:.1f}x real time)"
        )
        for note in result.notes:
            print(f"  note: {note}")
        if self._verbose and any(gain != 1 for gain in result.gains.values()):
            print(f"  gains: {', '.join(f'{n} {g:.3f}' for n, g in result.gains.items())}")

    def summary(self, failed: int) -> None:
        """Count what was done, where there were several files."""
        if self._json or self._num_files + failed < 2:
            return
        counts = ", ".join(f"{count} {what}" for what, count in self._counts.items() if count)
        print(counts)

    def _end_bar(self) -> None:
        if self._one is not None:
            self._progress.remove_task(self._one)
            self._one = None

    @staticmethod
    def _print_json(record: dict[str, Any]) -> None:
        print(json.dumps(record, ensure_ascii=False), flush=True)
