"""Is the file as long as it says? Looked at before hours of work start on half a song.

Decoders take a cut file for a short one and step over damage, so each container is asked
for what it promises: sizes in headers, numbers of frames, checksums of pages. What a
container does not promise (a flipped bit in PCM, in AAC) nobody can find.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from audiform.errors import AudioError
from audiform.io import mp4_boxes, mpeg_frames, ogg_pages

_STREAMED = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36)


def check_complete(path: Path, *, container: str) -> None:
    """Raise :class:`AudioError` if ``path`` holds less than it promises.

    ``container`` is FFmpeg's or libsndfile's name of it; those that promise nothing pass.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if container in ("mp3", "mp2"):
        mpeg_frames.check_complete(path)
    elif head[:4] == b"OggS":
        ogg_pages.check_complete(path)
    elif head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        _check_chunks(path, head)
    elif head[:4] == b"\x1aE\xdf\xa3":
        _check_matroska(path)
    elif head[:4] == b"\x30\x26\xb2\x75":
        _check_asf(path)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
        mp4_boxes.check_complete(path)


def _check_chunks(path: Path, head: bytes) -> None:
    """WAV, AIFF and AVI: the chunk with the sound must end within the file."""
    order = "<" if head[:4] in (b"RIFF", b"RF64") else ">"
    end = path.stat().st_size
    long_data_size = None
    offset = 12
    with path.open("rb") as file:
        while offset + 8 <= end:
            file.seek(offset)
            kind, size = struct.unpack(order + "4sI", file.read(8))
            if kind == b"ds64":
                long_data_size = int.from_bytes(file.read(16)[8:], "little")
            if kind in (b"data", b"SSND"):
                if size == 0xFFFFFFFF and long_data_size is not None:
                    size = long_data_size
                elif size in _STREAMED:
                    return  # written to a pipe: whatever follows is the sound
                if offset + 8 + size > end:
                    raise _cut_short(path, promised=offset + 8 + size, found=end)
                return
            if kind == b"LIST" and head[8:12] == b"AVI " and offset + 8 + size > end:
                raise _cut_short(path, promised=offset + 8 + size, found=end)
            offset += 8 + size + size % 2


def _check_matroska(path: Path) -> None:
    """MKV and WebM: the Segment, second element of the file, must end within it."""
    end = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        for _ in range(2):
            file.seek(offset)
            head = file.read(16)
            _, id_bytes = _ebml_number(head)
            size, size_bytes = _ebml_number(head[id_bytes:])
            is_unknown = size == (1 << 7 * size_bytes) - 1
            offset += id_bytes + size_bytes + size
            if is_unknown or not id_bytes or not size_bytes:
                return
    if offset > end:
        raise _cut_short(path, promised=offset, found=end)


def _ebml_number(data: bytes) -> tuple[int, int]:
    """Return a variable-length number without its length marker, and its bytes."""
    if not data or data[0] == 0:
        return 0, 0
    num_bytes = 9 - data[0].bit_length()
    value = int.from_bytes(data[:num_bytes], "big")
    return value & ((1 << 7 * num_bytes) - 1), num_bytes


def _check_asf(path: Path) -> None:
    """WMA: the file properties object says how many bytes the whole file has."""
    with path.open("rb") as file:
        head = file.read(4096)
        end = os.fstat(file.fileno()).st_size
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0 or at + 92 > len(head):
        return
    promised = int.from_bytes(head[at + 40 : at + 48], "little")
    is_broadcast = head[at + 88] & 1
    if not is_broadcast and promised > end:
        raise _cut_short(path, promised=promised, found=end)


def _cut_short(path: Path, *, promised: int, found: int) -> AudioError:
    return AudioError(
        f"is cut short: its header promises {promised} bytes, found {found}; "
        "copy or download it again",
        path=path,
    )
