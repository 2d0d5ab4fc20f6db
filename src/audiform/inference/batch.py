"""Many files with one model: names planned beforehand, one file's failure is not the next one's."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from audiform.errors import AudiformError, Cancelled, ConfigError
from audiform.inference.engine import ProgressCallback
from audiform.inference.file_job import OutputOptions, separate_file_to
from audiform.inference.memory import peak_mb
from audiform.inference.separator import Separator
from audiform.io import InputFile, safe_name, unique_names

#: Where a stem goes below the model's folder; Demucs' template and its variables.
DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Job:
    """One input and the paths of its outputs."""

    input: Path
    outputs: dict[str, Path]

    @property
    def is_complete(self) -> bool:
        """Tell whether every output is there; outputs get their names only when whole."""
        return all(path.is_file() for path in self.outputs.values())


@dataclass(frozen=True)
class JobResult:
    """What became of a job; :meth:`record` gives it as plain values for a report.

    ``peak_memory_mb`` is the most that the process has held since it began.
    """

    input: Path
    status: Status
    outputs: dict[str, Path] = field(default_factory=dict)
    model: str | None = None
    device: str | None = None
    backends: tuple[str, ...] = ()
    sample_rate: int | None = None
    num_samples: int | None = None
    gains: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    elapsed_seconds: float = 0.0
    peak_memory_mb: float | None = None
    error: str | None = None

    @property
    def duration_seconds(self) -> float | None:
        """Length of the stems, in seconds."""
        if self.num_samples is None or not self.sample_rate:
            return None
        return self.num_samples / self.sample_rate

    def record(self) -> dict[str, Any]:
        """Return plain values: strings, numbers, lists, dicts."""
        plain = asdict(self)
        plain["input"] = str(self.input)
        plain["outputs"] = {name: str(path) for name, path in self.outputs.items()}
        plain["notes"] = list(self.notes)
        plain["backends"] = list(self.backends)
        plain["duration_seconds"] = self.duration_seconds
        return plain


def plan_jobs(
    inputs: Sequence[InputFile],
    output_names: Sequence[str],
    *,
    folder: Path,
    extension: str,
    template: str = DEFAULT_TEMPLATE,
) -> list[Job]:
    """Name the outputs of every input: below ``folder``, by ``template``.

    Variables of the template: {track}, {trackext}, {stem}, {ext}. Inputs from a folder keep
    their place in its tree; inputs that would share a name get distinct ones. Raises
    :class:`ConfigError` for a template that is wrong or gives two stems one name.
    """
    jobs = []
    for source, unique in zip(inputs, unique_names(inputs), strict=True):
        outputs = {
            name: folder
            / unique.parent
            / _fill(template, track=unique.name, source=source.path, stem=name, extension=extension)
            for name in output_names
        }
        if len(set(outputs.values())) < len(outputs):
            raise ConfigError(
                f"the template {template!r} gives two stems one name; put {{stem}} into it"
            )
        jobs.append(Job(input=source.path, outputs=outputs))
    taken: dict[str, Path] = {}
    for job in jobs:
        for path in job.outputs.values():
            other = taken.setdefault(str(path).casefold(), job.input)
            if other != job.input:
                raise ConfigError(
                    f"the template {template!r} gives {other} and {job.input} one name; "
                    "put {track} into it"
                )
    return jobs


def _fill(template: str, *, track: str, source: Path, stem: str, extension: str) -> Path:
    trackext = source.suffix.removeprefix(".")
    try:
        text = template.format(track=track, trackext=trackext, stem=stem, ext=extension)
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"the template {template!r} cannot be filled in ({error}); it may hold {{track}}, "
            "{trackext}, {stem} and {ext}"
        ) from error
    filled = Path(text)
    if filled.is_absolute() or ".." in filled.parts:
        raise ConfigError(
            f"the template {template!r} leads out of the output folder; choose that with --out"
        )
    return filled.parent / safe_name(filled.name)


def run_jobs(
    separator: Separator,
    jobs: Sequence[Job],
    options: OutputOptions,
    *,
    skip_existing: bool = False,
    on_start: Callable[[Job], ProgressCallback | None] | None = None,
) -> Iterator[JobResult]:
    """Run jobs one after the other; a failure is a result, not an exception.

    ``on_start`` is told of each job that runs and may return a callback for its progress.
    :class:`Cancelled` and KeyboardInterrupt end the run; what was being written is removed.
    """
    for job in jobs:
        if skip_existing and job.is_complete:
            yield JobResult(input=job.input, status="skipped", outputs=job.outputs)
            continue
        on_progress = on_start(job) if on_start is not None else None
        yield _run(separator, job, options, on_progress)


def _run(
    separator: Separator, job: Job, options: OutputOptions, on_progress: ProgressCallback | None
) -> JobResult:
    started = time.perf_counter()
    common: dict[str, Any] = {
        "input": job.input,
        "model": separator.name,
        "device": str(separator.device.device),
        "backends": tuple(dict.fromkeys(map(str, separator.backends))),
    }
    try:
        written = separate_file_to(
            separator, job.input, job.outputs.__getitem__, options, on_progress=on_progress
        )
    except Cancelled:
        raise
    except Exception as error:
        return JobResult(
            status="failed",
            error=_explain(error, job.input),
            elapsed_seconds=time.perf_counter() - started,
            **common,
        )
    return JobResult(
        status="done",
        outputs=written.paths,
        sample_rate=written.sample_rate,
        num_samples=written.num_samples,
        gains=written.gains,
        notes=written.notes,
        peak_memory_mb=peak_mb(),
        elapsed_seconds=time.perf_counter() - started,
        **common,
    )


def _explain(error: Exception, path: Path) -> str:
    text = str(error)
    if not isinstance(error, AudiformError):
        text = f"{type(error).__name__}: {text}"
    return text if str(path) in text else f"{path}: {text}"


class Report:
    """A file of JSON lines, one per result, appended and flushed as results come."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def add(self, result: JobResult) -> None:
        """Append a result."""
        self._file.write(json.dumps(result.record(), ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
