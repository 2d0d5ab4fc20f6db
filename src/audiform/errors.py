"""Every exception that the package raises on purpose.

Each message has three parts: what was asked, what was found, what to do. The values
that it speaks of are attributes, so that a program need not parse the text.
"""

from __future__ import annotations

from pathlib import Path


class AudiformError(Exception):
    """Base of all: ``except AudiformError`` catches what the package raises on purpose."""


class AudioError(AudiformError):
    """An audio file or signal cannot be read, used or written.

    ``path`` is the file that the error is about, or None for a signal in memory.
    """

    def __init__(self, message: str, *, path: str | Path | None = None) -> None:
        super().__init__(message if path is None else f"{path}: {message}")
        self.path = None if path is None else Path(path)


class CheckpointError(AudiformError):
    """A checkpoint cannot be found, fetched, trusted or read.

    ``path`` is the file that the error is about, where there is one.
    """

    def __init__(self, message: str, *, path: str | Path | None = None) -> None:
        super().__init__(message if path is None else f"{path}: {message}")
        self.path = None if path is None else Path(path)


class ConfigError(AudiformError):
    """An option, a configuration or a combination of both makes no sense."""


class DataError(AudiformError):
    """A dataset, or a file of it, cannot be used for training or evaluation.

    ``path`` is the folder or file that the error is about, where there is one.
    """

    def __init__(self, message: str, *, path: str | Path | None = None) -> None:
        super().__init__(message if path is None else f"{path}: {message}")
        self.path = None if path is None else Path(path)


class DeviceError(AudiformError):
    """The device asked for is absent, or has too little memory."""


class Cancelled(AudiformError):
    """The caller's progress callback asked to stop; nothing was left half-written."""


class TrainingError(AudiformError):
    """Training cannot go on: numbers stopped being finite. The last saved state is kept."""
