"""A WAV file, written block by block: RIFF, and RF64 (EBU Tech 3306) beyond 4 GiB.

Written here and not by libsndfile, so that the same samples always give the same bytes
(libsndfile stores the time of day), and so that a file of unknown length can still become
RF64: room for its ``ds64`` chunk is kept in a ``JUNK`` chunk and used only when needed.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from audiform.errors import AudioError
from audiform.io.id3 import id3_bytes
from audiform.io.tags import Tags

#: The largest size that RIFF's 32 bits can say; some bytes are left for the tags.
RIFF_MAX_BYTES = 0xFFFFFFFF - (1 << 24)

_DS64_BYTES = 28
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_INFO_NAMES = {
    "title": b"INAM", "artist": b"IART", "album": b"IPRD", "date": b"ICRD", "genre": b"IGNR",
    "comment": b"ICMT", "track": b"ITRK", "copyright": b"ICOP",
}  # fmt: skip


class WavFile:
    """Encodes integer or float samples (time, channels) into a WAV file at ``path``."""

    def __init__(
        self,
        path: Path,
        *,
        sample_rate: int,
        num_channels: int,
        bit_depth: int,
        is_float: bool,
        tags: Tags,
        expected_samples: int | None,
    ) -> None:
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self.bit_depth = bit_depth
        self.is_float = is_float
        self.tags = tags
        self._frame_bytes = num_channels * bit_depth // 8
        self._may_be_long = (
            expected_samples is None or expected_samples * self._frame_bytes > RIFF_MAX_BYTES
        )
        self._data_bytes = 0
        self._file = path.open("wb")
        self._file.write(self._header(riff_bytes=0))

    def write(self, samples: np.ndarray) -> None:
        """Append ``samples`` (time, channels): int32, left-aligned in 32 bits, or float32."""
        if self.is_float:
            data = np.ascontiguousarray(samples, dtype="<f4").tobytes()
        else:
            num_bytes = self.bit_depth // 8
            little = np.ascontiguousarray(samples, dtype="<i4").view(np.uint8).reshape(-1, 4)
            data = little[:, 4 - num_bytes :].tobytes()
        self._data_bytes += len(data)
        if self._data_bytes > RIFF_MAX_BYTES and not self._may_be_long:
            raise AudioError(
                "more audio came than was announced, and a plain WAV ends at 4 GiB; "
                "give the right expected_samples"
            )
        self._file.write(data)

    def close(self) -> None:
        """Write the tags and the sizes, and close the file."""
        if self._file.closed:
            return
        if self._data_bytes % 2:
            self._file.write(b"\x00")
        self._file.write(self._tag_chunks())
        size = self._file.tell()
        self._file.seek(0)
        self._file.write(self._header(riff_bytes=size - 8))
        self._file.close()

    def discard(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _header(self, *, riff_bytes: int) -> bytes:
        is_long = riff_bytes > 0xFFFFFFFF or self._data_bytes > RIFF_MAX_BYTES
        num_samples = self._data_bytes // self._frame_bytes
        chunks = b""
        if is_long:
            sizes = struct.pack("<QQQI", riff_bytes, self._data_bytes, num_samples, 0)
            chunks += _chunk(b"ds64", sizes)
        elif self._may_be_long:
            chunks += _chunk(b"JUNK", bytes(_DS64_BYTES))
        chunks += _chunk(b"fmt ", self._format())
        if self.is_float:
            chunks += _chunk(b"fact", struct.pack("<I", min(num_samples, 0xFFFFFFFF)))
        data_bytes = 0xFFFFFFFF if is_long else self._data_bytes
        head = b"RF64\xff\xff\xff\xff" if is_long else b"RIFF" + struct.pack("<I", riff_bytes)
        return head + b"WAVE" + chunks + b"data" + struct.pack("<I", data_bytes)

    def _format(self) -> bytes:
        code = _FLOAT if self.is_float else _PCM
        body = struct.pack(
            "<HIIHH",
            self.num_channels,
            self.sample_rate,
            self.sample_rate * self._frame_bytes,
            self._frame_bytes,
            self.bit_depth,
        )
        if self.num_channels <= 2:  # what every program reads
            return struct.pack("<H", code) + body + (b"\x00\x00" if self.is_float else b"")
        extension = struct.pack("<HHIH", 22, self.bit_depth, 0, code) + _SUBFORMAT_TAIL
        return struct.pack("<H", _EXTENSIBLE) + body + extension

    def _tag_chunks(self) -> bytes:
        """LIST INFO for the few names that it has, ID3 for all and the cover."""
        if not self.tags:
            return b""
        info = b"".join(
            _chunk(code, self.tags.text[name].encode() + b"\x00")
            for name, code in _INFO_NAMES.items()
            if name in self.tags.text
        )
        listed = _chunk(b"LIST", b"INFO" + info) if info else b""
        return listed + _chunk(b"id3 ", id3_bytes(self.tags))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)
