"""The boxes of an MP4 file (ISO/IEC 14496-12): a walk, and how long they say the file is."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiform.errors import AudioError


@dataclass(frozen=True)
class Box:
    """A box: its type, where it begins in the file, its header's and its whole size in bytes."""

    kind: bytes
    offset: int
    header_bytes: int
    size: int

    @property
    def end(self) -> int:
        """Where the next box begins."""
        return self.offset + self.size


def boxes(file: BinaryIO, *, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets; the last may claim to end beyond ``end``."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:  # the box around claims more than there is
            return
        size, kind = struct.unpack(">I4s", head)
        header_bytes = 8
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
            header_bytes = 16
        elif size == 0:  # to the end of the file
            size = end - start
        if size < header_bytes:
            return
        yield Box(kind=kind, offset=start, header_bytes=header_bytes, size=size)
        start += size


def check_complete(path: Path) -> None:
    """Raise :class:`AudioError` if a box of the top level is cut, or the index is missing."""
    end = path.stat().st_size
    kinds = set()
    with path.open("rb") as file:
        for box in boxes(file, start=0, end=end):
            kinds.add(box.kind)
            if box.end > end:
                raise AudioError(
                    f"is cut short: its {box.kind.decode('latin-1')!r} box promises {box.end} "
                    f"bytes, found {end}; copy or download it again",
                    path=path,
                )
    if not kinds & {b"moov", b"moof"}:
        raise AudioError(
            "is cut short: the index ('moov') is missing; copy or download it again", path=path
        )


def movie_timescale(path: Path) -> int | None:
    """Return the ticks per second in which edit lists count, None if there is no movie header."""
    with path.open("rb") as file:
        body = find(file, (b"moov", b"mvhd"))
    if body is None:
        return None
    at = 20 if body[:1] == b"\x01" else 12  # version 1 has 64-bit times
    return int.from_bytes(body[at : at + 4], "big") or None


def tempo_bpm(path: Path) -> int | None:
    """Return the beats per minute in the iTunes tags, which FFmpeg does not hand on."""
    with path.open("rb") as file:
        data = find(file, (b"moov", b"udta", b"meta", b"ilst", b"tmpo", b"data"))
    return int.from_bytes(data[8:12], "big") or None if data else None


def find(file: BinaryIO, kinds: Sequence[bytes]) -> bytes | None:
    """Return the body (at most 32 bytes) of the first box at this path of types, or None."""
    start, end = 0, os.fstat(file.fileno()).st_size
    for kind in kinds:
        found = next((box for box in boxes(file, start=start, end=end) if box.kind == kind), None)
        if found is None:
            return None
        start, end = found.offset + found.header_bytes, found.end
        if kind == b"meta":
            start += 4  # its version and flags
    file.seek(start)
    return file.read(min(32, end - start))
