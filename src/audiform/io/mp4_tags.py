"""iTunes tags in MP4: put into the index ('moov') of a file that has it at its end."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from audiform.errors import AudioError
from audiform.io.mp4_boxes import boxes
from audiform.io.tags import Tags

_NAMES = {
    "title": b"\xa9nam", "artist": b"\xa9ART", "album": b"\xa9alb", "album_artist": b"aART",
    "date": b"\xa9day", "genre": b"\xa9gen", "comment": b"\xa9cmt", "composer": b"\xa9wrt",
    "copyright": b"cprt", "lyrics": b"\xa9lyr", "grouping": b"\xa9grp",
}  # fmt: skip
_BINARY, _UTF8, _JPEG, _PNG, _INTEGER = 0, 1, 13, 14, 21


def tag_mp4(path: Path, tags: Tags) -> None:
    """Put ``tags`` at the end of the index of ``path``, which must be the file's last box."""
    with path.open("r+b") as file:
        end = os.fstat(file.fileno()).st_size
        *_, last = boxes(file, start=0, end=end)
        if last.kind != b"moov" or last.end != end or last.header_bytes != 8:
            raise AudioError("the MP4 index is not at the end; this is a bug, please report it")
        *_, child = boxes(file, start=last.offset + last.header_bytes, end=end)
        if child.kind == b"udta":  # FFmpeg's own, empty but for its name
            end = child.offset
        file.seek(end)
        file.truncate()
        file.write(_user_data(tags))
        end = file.tell()
        file.seek(last.offset)
        file.write(struct.pack(">I", end - last.offset))


def _user_data(tags: Tags) -> bytes:
    items = b"".join(_item(name, value) for name, value in tags.text.items())
    if tags.cover is not None:
        kind = {"image/jpeg": _JPEG, "image/png": _PNG}.get(tags.cover.mime_type, _BINARY)
        items += _box(b"covr", _data(kind, tags.cover.data))
    handler = _box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    return _box(b"udta", _box(b"meta", bytes(4) + handler + _box(b"ilst", items)))


def _item(name: str, value: str) -> bytes:
    if name == "bpm" and value.isdigit() and int(value) < 1 << 16:
        return _box(b"tmpo", _data(_INTEGER, struct.pack(">H", int(value))))
    if name in ("track", "disc") and (pair := _number_of_total(value)):
        kind, tail = (b"trkn", 2) if name == "track" else (b"disk", 0)
        return _box(kind, _data(_BINARY, struct.pack(">HHH", 0, *pair) + bytes(tail)))
    text = _data(_UTF8, value.encode("utf-8", "replace"))
    if name in _NAMES:
        return _box(_NAMES[name], text)
    label = name.upper().encode("utf-8", "replace")
    mean = _box(b"mean", bytes(4) + b"com.apple.iTunes")
    return _box(b"----", mean + _box(b"name", bytes(4) + label) + text)


def _number_of_total(value: str) -> tuple[int, int] | None:
    """Return "3" as (3, 0) and "3/12" as (3, 12), None for anything else."""
    number, _, total = value.partition("/")
    if not number.isdigit() or not (total or "0").isdigit():
        return None
    pair = int(number), int(total or 0)
    return pair if max(pair) < 1 << 16 else None


def _data(kind: int, value: bytes) -> bytes:
    return _box(b"data", struct.pack(">II", kind, 0) + value)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body
