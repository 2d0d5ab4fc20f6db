"""Small pictures: PNG files with a palette of 256 colours."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

#: From dark to bright, and as bright to the eye as the numbers are large.
STOPS = ((4, 5, 20), (52, 17, 92), (135, 34, 118), (216, 70, 82), (250, 150, 80), (252, 244, 190))

#: From less to more: blue, nothing, orange.
DIVERGING = ((120, 200, 255), (40, 100, 190), (18, 18, 26), (200, 90, 40), (255, 200, 110))

Stops = Sequence[tuple[int, int, int]]


def palette(stops: Stops = STOPS) -> bytes:
    """Return 256 colours of three bytes, blended between ``stops``."""
    position = np.linspace(0, len(stops) - 1, 256)
    channels = [
        np.interp(position, np.arange(len(stops)), [stop[c] for stop in stops]) for c in range(3)
    ]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()


def encode_png(picture: np.ndarray, *, stops: Stops = STOPS) -> bytes:
    """Return a PNG of ``picture`` (height, width), uint8 numbers of colours between ``stops``."""
    height, width = picture.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, palette
    rows = np.hstack([np.zeros((height, 1), np.uint8), picture.astype(np.uint8)])  # no filter
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette(stops)),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
