"""A part of a file as a file of its own."""

from __future__ import annotations

import io
from typing import BinaryIO


class FileSlice:
    """The bytes from ``start`` on, up to ``end`` if it is given, of an open file.

    Reading or writing FFmpeg sees nothing of what stands before: tags that we write ourselves.
    """

    def __init__(self, file: BinaryIO, start: int, end: int | None = None) -> None:
        self._file = file
        self._start = start
        self._end = end
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes, all that are left if it is negative."""
        if self._end is not None:
            left = max(0, self._end - self._file.tell())
            size = left if size < 0 else min(size, left)
        return self._file.read(size)

    def write(self, data: bytes) -> int:
        """Write ``data``."""
        return self._file.write(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to ``offset`` from the slice's start, the position or the slice's end."""
        if whence == io.SEEK_SET:
            offset, whence = offset + self._start, io.SEEK_SET
        elif whence == io.SEEK_END and self._end is not None:
            offset, whence = offset + self._end, io.SEEK_SET
        return self._file.seek(offset, whence) - self._start

    def tell(self) -> int:
        """Return the position in the slice."""
        return self._file.tell() - self._start
