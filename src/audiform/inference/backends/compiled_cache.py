"""What was made once for this machine, kept in the user's cache: compiled networks, choices.

Every file begins with the sha256 of the rest, so that a damaged one is never used. Files are
written aside and renamed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from audiform.checkpoints import cache_folder

DIGEST_BYTES = 32


class CompiledCache:
    """A folder of files by key; a key says all that the content depends on."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "compiled"

    def read(self, key: str) -> bytes | None:
        """Return what was kept under ``key``; None if there is nothing, or it is damaged."""
        try:
            with self.path(key).open("rb") as file:  # hundreds of megabytes: held once
                digest, content = file.read(DIGEST_BYTES), file.read()
        except OSError:
            return None
        return content if hashlib.sha256(content).digest() == digest else None

    def write(self, key: str, content: bytes) -> bool:
        """Keep ``content``; False where the folder cannot be written, or the disk is full."""
        part = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=self.folder, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            Path(part).replace(self.path(key))
        except OSError:
            if part is not None:
                Path(part).unlink(missing_ok=True)
            return False
        return True

    def path(self, key: str) -> Path:
        """Return where the content of ``key`` is, or would be."""
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.bin"
