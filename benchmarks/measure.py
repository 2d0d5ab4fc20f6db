"""Running a command: how long it took, and how much memory it held at most."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Run:
    """A finished command."""

    seconds: float
    peak_mb: float


def run(*command: str) -> Run:
    """Run a command to its end; raises CalledProcessError with its output when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(seconds=seconds, peak_mb=usage.ru_maxrss * unit / 2**20)


def audiform(*arguments: str) -> list[str]:
    """Return the command line of our program."""
    return [sys.executable, "-m", "audiform", *arguments]


def demucs(*arguments: str) -> list[str]:
    """Return the command line of the peer."""
    return [sys.executable, "-m", "demucs", *arguments]


def commit() -> str:
    """Return the commit that is measured."""
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with what all benchmarks take."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, help="write the figures to this file")
    return made


def report(title: str, rows: dict[str, str | float], to: Path | None) -> None:
    """Print the figures, and keep them if asked."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    print(f"\n{title} (commit {commit()}; {machine})")
    for name, value in rows.items():
        print(f"  {name:48} {value if isinstance(value, str) else format(value, '.4g')}")
    if to is not None:
        to.write_text(json.dumps({"title": title, "machine": machine, **rows}, indent=2) + "\n")
