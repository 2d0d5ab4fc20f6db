"""The sha256 of a file, and the first digits of it that a released file's name ends in."""

from __future__ import annotations

import hashlib
from pathlib import Path

from audiform.errors import CheckpointError


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror or error}; check the path and its permissions",
            path=path,
        ) from error


def check_sha256(path: Path, prefix: str) -> None:
    """Raise :class:`CheckpointError` unless the sha256 of ``path`` begins with ``prefix``."""
    found = sha256_of(path)
    if not found.startswith(prefix):
        raise CheckpointError(
            f"should have a sha256 that begins with {prefix}, but it begins with "
            f"{found[: len(prefix)]}: the file is damaged or another one; delete it and fetch "
            "it again",
            path=path,
        )
