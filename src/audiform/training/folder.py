"""The folder of a run belongs to one run, and to one process of it at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audiform.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: two runs at once are not noticed there
    fcntl = None  # type: ignore[assignment]


STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"


def require_free(folder: Path, *, resume: bool) -> None:
    """Raise :class:`ConfigError` where ``folder`` holds a run that is not to be resumed."""
    if not resume and any((folder / name).exists() for name in (STATE_FILE, LOG_FILE)):
        raise ConfigError(
            f"{folder} holds a training run already; go on with --resume or choose another folder"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make ``folder`` and keep other runs out of it; a process that dies leaves no lock.

    Raises :class:`ConfigError` where a run is in it at this moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another run is training in {folder} at this moment; wait for its end, or choose "
                "another folder"
            ) from error
        yield
    finally:
        os.close(descriptor)
