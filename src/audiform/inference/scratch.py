"""Blocks of float samples on disk, for what is known only when the track has ended.

An anonymous temporary file: nothing is left of it, however the program ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiform.inference.track import Block


class ScratchFile:
    """Rows of float32 samples of one length, appended in blocks, read again as often as asked."""

    def __init__(self, num_rows: int, *, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".audiform-")  # noqa: SIM115
        self.num_rows = num_rows
        self.num_samples = 0

    def append(self, rows: Block) -> None:
        """Append (rows, time)."""
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(rows.T, dtype=np.float32).tobytes())
        self.num_samples += rows.shape[1]

    def read_span(self, start: int, count: int) -> Block:
        """Read all rows from sample ``start`` on, (rows, at most ``count``)."""
        row_bytes = 4 * self.num_rows
        self._file.seek(start * row_bytes)
        data = self._file.read(min(count, self.num_samples - start) * row_bytes)
        return np.frombuffer(data, dtype=np.float32).reshape(-1, self.num_rows).T

    def blocks(self, block_samples: int = 1 << 16) -> Iterator[Block]:
        """Read all rows from the start, (rows, at most ``block_samples``) at a time."""
        for start in range(0, self.num_samples, block_samples):
            yield self.read_span(start, block_samples)

    def read_rows(self, first: int, stop: int) -> Block:
        """Read the rows [first, stop) whole."""
        rows = np.empty((stop - first, self.num_samples), dtype=np.float32)
        position = 0
        for block in self.blocks():
            rows[:, position : position + block.shape[1]] = block[first:stop]
            position += block.shape[1]
        return rows

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
