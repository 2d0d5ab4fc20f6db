"""Ogg pages (RFC 3533): a walk through a file that checks each page's sum and number.

libsndfile and FFmpeg step over damaged pages in silence. The check reads the file once,
in constant memory, at the speed of zlib's CRC.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiform.errors import AudioError

_HEADER = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST, _LAST = 1, 2, 4

#: Each byte with its bits in reverse order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    """One page; ``checksum_is_right`` tells whether it is as it was written."""

    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes
    body: bytes
    checksum_is_right: bool

    @property
    def is_last(self) -> bool:
        """Whether the stream says that it ends here."""
        return bool(self.flags & _LAST)

    @property
    def is_first(self) -> bool:
        """Whether a stream begins here."""
        return bool(self.flags & _FIRST)


def ogg_crc(data: bytes) -> int:
    """Return Ogg's sum: CRC-32, not reflected, from zero.

    zlib computes the reflected CRC of the same polynomial, which is that of the data and
    the result with their bits reversed; its inversions at both ends are undone.
    """
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


def pages(file: BinaryIO) -> Iterator[Page]:
    """Yield the pages from where ``file`` stands; ends at the first bytes that are no page."""
    while True:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or head[:4] != b"OggS":
            return
        _, _, flags, granule, serial, number, checksum, num_segments = _HEADER.unpack(head)
        lacing = file.read(num_segments)
        body = file.read(sum(lacing))
        if len(lacing) < num_segments or len(body) < sum(lacing):
            return
        bare = head[:22] + bytes(4) + head[26:]
        right = ogg_crc(bare + lacing + body) == checksum
        yield Page(flags, granule, serial, number, lacing, body, right)


def page_bytes(page: Page) -> bytes:
    """Return the page as bytes, with its sum."""
    head = bytearray(
        _HEADER.pack(
            b"OggS", 0, page.flags, page.granule, page.serial, page.number, 0, len(page.lacing)
        )
    )
    head[22:26] = struct.pack("<I", ogg_crc(bytes(head) + page.lacing + page.body))
    return bytes(head) + page.lacing + page.body


def check_complete(path: Path) -> None:
    """Raise :class:`AudioError` if a page is damaged or missing, or the end is."""
    numbers: dict[int, int] = {}
    open_streams: set[int] = set()
    an_end_was_seen = False
    with path.open("rb") as file:
        for count, page in enumerate(pages(file)):
            expected = 0 if page.is_first else numbers.get(page.serial, -1) + 1
            if not page.checksum_is_right or page.number != expected:
                found = "the checksum is wrong" if not page.checksum_is_right else "pages miss"
                raise AudioError(
                    f"is damaged: {found} at Ogg page {count}; copy or download it again",
                    path=path,
                )
            if page.is_first and an_end_was_seen:
                raise AudioError(
                    "holds several Ogg streams one after another (recorded radio?), of which "
                    "decoders give only the first; convert it to FLAC or WAV",
                    path=path,
                )
            an_end_was_seen = an_end_was_seen or page.is_last
            numbers[page.serial] = page.number
            if page.is_last:
                open_streams.discard(page.serial)
            elif page.is_first:
                open_streams.add(page.serial)
    if open_streams or not numbers:
        raise AudioError(
            f"is cut short or damaged: the Ogg stream does not end after {sum(numbers.values())} "
            "pages, as the last of them must say; copy or download it again",
            path=path,
        )
