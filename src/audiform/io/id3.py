"""ID3v2.4 tags (https://id3.org/id3v2.4.0-structure), for MP3 and for a chunk of WAV."""

from __future__ import annotations

from typing import BinaryIO

from audiform.io.tags import Tags

#: Our names -> frames; other names go into user-defined text frames (TXXX).
_FRAMES = {
    "title": "TIT2", "artist": "TPE1", "album": "TALB", "album_artist": "TPE2", "date": "TDRC",
    "genre": "TCON", "bpm": "TBPM", "isrc": "TSRC", "track": "TRCK", "disc": "TPOS",
    "composer": "TCOM", "copyright": "TCOP", "publisher": "TPUB", "initialkey": "TKEY",
    "lyricist": "TEXT", "performer": "TPE3", "grouping": "TIT1",
}  # fmt: skip
_UTF8 = b"\x03"
_FRONT_COVER = b"\x03"


def id3_bytes(tags: Tags) -> bytes:
    """Return ``tags`` as an ID3v2.4 tag, empty if there is nothing to say."""
    if not tags:
        return b""
    frames = b"".join(_text_frame(name, value) for name, value in tags.text.items())
    if tags.cover is not None:
        mime_type = tags.cover.mime_type.encode("ascii", "replace")
        picture = _UTF8 + mime_type + b"\x00" + _FRONT_COVER + b"\x00" + tags.cover.data
        frames += _frame("APIC", picture)
    return b"ID3\x04\x00\x00" + _syncsafe(len(frames)) + frames


def id3_end(file: BinaryIO) -> int:
    """Return where the ID3v2 tags at the beginning of ``file`` end; there may be several."""
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return offset
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset += 10 + size + (10 if head[5] & 0x10 else 0)  # with a footer


def _text_frame(name: str, value: str) -> bytes:
    text = value.encode("utf-8", "replace")
    if name in _FRAMES:
        return _frame(_FRAMES[name], _UTF8 + text)
    if name == "comment":
        return _frame("COMM", _UTF8 + b"XXX\x00" + text)
    return _frame("TXXX", _UTF8 + name.encode("utf-8", "replace") + b"\x00" + text)


def _frame(kind: str, body: bytes) -> bytes:
    return kind.encode("ascii") + _syncsafe(len(body)) + b"\x00\x00" + body


def _syncsafe(size: int) -> bytes:
    """Return ``size`` as four bytes of seven bits each."""
    return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
