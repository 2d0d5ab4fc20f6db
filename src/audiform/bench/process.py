"""Running a command: how long it took, and how much memory it held at most."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from audiform.errors import ConfigError

#: Lines of a failed program's output that are shown.
SHOWN_LINES = 12


@dataclass(frozen=True)
class FinishedProcess:
    """A command that ended well: seconds from its start to its end, megabytes at its peak.

    ``processor_seconds`` are those of all its threads, which other work on the machine distorts
    less.
    """

    seconds: float
    processor_seconds: float
    peak_mb: float


def run_process(command: Sequence[str]) -> FinishedProcess:
    """Run a command to its end; raises :class:`ConfigError` with its last words if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = "\n".join(output.splitlines()[-SHOWN_LINES:])
        raise ConfigError(
            f"{' '.join(command)} ended with {process.returncode}; its last words:\n{last}"
        )
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return FinishedProcess(
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_mb=kilobytes / 1024,
    )
