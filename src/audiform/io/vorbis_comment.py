"""Vorbis comments, for FLAC, Ogg Vorbis and Opus, and their rewriting in finished files.

libsndfile knows few names and no pictures, so a file is written without tags and gets them
when it is done: the head is replaced and the rest is copied.
https://xiph.org/vorbis/doc/v-comment.html, RFC 9639 section 8.8 (pictures), RFC 7845.
"""

from __future__ import annotations

import base64
import itertools
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from audiform.errors import AudioError
from audiform.io.ogg_pages import Page, page_bytes, pages
from audiform.io.tags import Cover, Tags

_NAMES = {"track": "TRACKNUMBER", "disc": "DISCNUMBER", "album_artist": "ALBUMARTIST"}
_FRONT_COVER = 3
_MAX_LACING = 255
_SERIAL = 1
_FLAC_COMMENT, _FLAC_PICTURE, _FLAC_PADDING = 4, 6, 1


def comment_bytes(tags: Tags, *, vendor: bytes, with_cover: bool) -> bytes:
    """Return ``tags`` as a Vorbis comment, the cover as METADATA_BLOCK_PICTURE if asked."""
    entries = [
        f"{_NAMES.get(name, _field_name(name))}={value}".encode("utf-8", "replace")
        for name, value in tags.text.items()
    ]
    if with_cover and tags.cover is not None:
        entries.append(b"METADATA_BLOCK_PICTURE=" + base64.b64encode(picture_bytes(tags.cover)))
    body = b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)
    return struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(entries)) + body


def picture_bytes(cover: Cover) -> bytes:
    """Return the body of FLAC's PICTURE block; width, height and depth are left unsaid."""
    mime_type = cover.mime_type.encode("ascii", "replace")
    head = struct.pack(">II", _FRONT_COVER, len(mime_type)) + mime_type
    return head + struct.pack(">IIIIII", 0, 0, 0, 0, 0, len(cover.data)) + cover.data


def retag_flac(path: Path, tags: Tags) -> None:
    """Give the FLAC file at ``path`` these tags in place of its own."""

    def write(source: BinaryIO, target: BinaryIO) -> None:
        source.seek(4)
        blocks, vendor = [], b"audiform"
        is_last = False
        while not is_last:
            head = source.read(4)
            is_last = bool(head[0] & 0x80)
            kind, body = head[0] & 0x7F, source.read(int.from_bytes(head[1:], "big"))
            if kind == _FLAC_COMMENT:
                vendor = body[4 : 4 + int.from_bytes(body[:4], "little")]
            elif kind not in (_FLAC_PICTURE, _FLAC_PADDING):
                blocks.append((kind, body))
        blocks.append((_FLAC_COMMENT, comment_bytes(tags, vendor=vendor, with_cover=False)))
        if tags.cover is not None and len(tags.cover.data) < (1 << 24) - 64:  # a block's limit
            blocks.append((_FLAC_PICTURE, picture_bytes(tags.cover)))
        target.write(b"fLaC")
        for index, (kind, body) in enumerate(blocks):
            last_flag = 0x80 if index == len(blocks) - 1 else 0
            target.write(bytes([kind | last_flag]) + len(body).to_bytes(3, "big") + body)
        shutil.copyfileobj(source, target, 1 << 20)

    _rewrite(path, write)


def retag_ogg(path: Path, tags: Tags) -> None:
    """Give the Ogg Vorbis or Opus file at ``path`` these tags in place of its own.

    The header packets are laid out in new pages, so all later pages get new numbers. The
    stream's random serial number becomes a fixed one: the same audio gives the same bytes.
    """

    def write(source: BinaryIO, target: BinaryIO) -> None:
        stream = pages(source)
        first = next(stream)
        is_vorbis = first.body[:7] == b"\x01vorbis"
        packets = _header_packets(stream, count=2 if is_vorbis else 1)
        magic = b"\x03vorbis" if is_vorbis else b"OpusTags"
        old = packets[0][len(magic) :]
        vendor = old[4 : 4 + int.from_bytes(old[:4], "little")]
        comment = comment_bytes(tags, vendor=vendor, with_cover=True)
        packets[0] = magic + comment + (b"\x01" if is_vorbis else b"")
        new_pages = itertools.chain([first], _pages_of(packets), stream)
        for number, page in enumerate(new_pages):
            target.write(page_bytes(replace(page, number=number, serial=_SERIAL)))

    _rewrite(path, write)


def _field_name(name: str) -> str:
    """Return ``name`` as the standard allows it: printable ASCII without '='."""
    return "".join(c if " " <= c <= "}" and c != "=" else "_" for c in name).upper()


def _header_packets(stream: Iterator[Page], *, count: int) -> list[bytes]:
    """Read the pages of ``count`` header packets; they end together with a page."""
    packets: list[bytes] = []
    packet = b""
    while len(packets) < count:
        page = next(stream, None)
        if page is None:
            raise AudioError("the Ogg file ends within its header; this is a bug, please report it")
        at = 0
        for size in page.lacing:
            packet += page.body[at : at + size]
            at += size
            if size < _MAX_LACING:
                packets.append(packet)
                packet = b""
    return packets


def _pages_of(packets: list[bytes]) -> Iterator[Page]:
    """Lay packets out in pages of at most 255 pieces of at most 255 bytes."""
    lacing: list[int] = []
    starts: list[bool] = []  # does a packet begin with this piece?
    for packet in packets:
        sizes = [_MAX_LACING] * (len(packet) // _MAX_LACING) + [len(packet) % _MAX_LACING]
        lacing += sizes
        starts += [True] + [False] * (len(sizes) - 1)
    body, at = b"".join(packets), 0
    for start in range(0, len(lacing), 255):
        sizes = lacing[start : start + 255]
        ends_packet = any(size < _MAX_LACING for size in sizes)
        yield Page(
            flags=0 if starts[start] else 1,
            granule=0 if ends_packet else -1,
            serial=_SERIAL,
            number=0,
            lacing=bytes(sizes),
            body=body[at : at + sum(sizes)],
            checksum_is_right=True,
        )
        at += sum(sizes)


def _rewrite(path: Path, write: Callable[[BinaryIO, BinaryIO], None]) -> None:
    """Replace ``path`` by what ``write(source, target)`` makes of it."""
    aside = path.with_name(path.name[:-5] + ".tagg")  # as long as ".part", so never too long
    try:
        with path.open("rb") as source, aside.open("wb") as target:
            write(source, target)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
