"""Several devices: a process for each, which takes the next file that nobody has begun."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import torch

from audiform.inference.batch import Job, JobResult, run_jobs
from audiform.inference.file_job import OutputOptions
from audiform.inference.separator import Separator


@dataclass(frozen=True)
class SeparatorSettings:
    """What each process builds its separator from; ``arguments`` are those of Separator."""

    arguments: Mapping[str, Any]
    keep_vocal_free: bool = False

    def build(
        self, device: str, *, on_download: Callable[[int, int | None], None] | None = None
    ) -> Separator:
        """Return a separator on ``device``; ``on_download`` is told bytes done and in all."""
        separator = Separator(**self.arguments, device=device, on_download=on_download)
        if self.keep_vocal_free:
            separator.keep_vocal_free()
        return separator


def run_jobs_on(
    devices: Sequence[str],
    settings: SeparatorSettings,
    jobs: Sequence[Job],
    options: OutputOptions,
    *,
    skip_existing: bool = False,
    on_begin: Callable[[], object] | None = None,
) -> Iterator[JobResult]:
    """Run jobs on all ``devices`` side by side; results come in the order in which they end.

    What the model needs must have been downloaded. ``on_begin`` is called first in each process.
    A failure is a result, not an exception; so is a process that dies.
    """
    context = multiprocessing.get_context("spawn")
    waiting = context.Queue()
    for device in devices:
        waiting.put(device)
    share = max(1, (os.cpu_count() or 1) // len(devices))
    with ProcessPoolExecutor(
        len(devices), context, _begin, (waiting, settings, share, on_begin)
    ) as processes:
        futures: dict[Future[JobResult], Job] = {
            processes.submit(_run, job, options, skip_existing): job for job in jobs
        }
        try:
            for future in as_completed(futures):
                yield _result_of(future, futures[future])
        finally:
            processes.shutdown(cancel_futures=True)


def _result_of(future: Future[JobResult], job: Job) -> JobResult:
    try:
        return future.result()
    except BrokenProcessPool:
        problem = "the process of a device ended; run it on one device to see why"
        return JobResult(input=job.input, status="failed", error=f"{job.input}: {problem}")


class _Process:
    """What a process of the pool keeps from file to file."""

    device: str
    settings: SeparatorSettings
    separator: Separator | None = None


def _begin(
    waiting: Any, settings: SeparatorSettings, threads: int, on_begin: Callable[[], object] | None
) -> None:
    if on_begin is not None:
        on_begin()
    _Process.device, _Process.settings = waiting.get(), settings
    torch.set_num_threads(threads)


def _run(job: Job, options: OutputOptions, skip_existing: bool) -> JobResult:
    try:
        if _Process.separator is None:
            _Process.separator = _Process.settings.build(_Process.device)
    except Exception as error:
        return JobResult(
            input=job.input,
            status="failed",
            device=_Process.device,
            error=f"{job.input}: {_Process.device}: {error}",
        )
    (result,) = run_jobs(_Process.separator, [job], options, skip_existing=skip_existing)
    return result
