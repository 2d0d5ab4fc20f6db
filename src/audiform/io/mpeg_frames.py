"""MPEG audio frames: a walk through an MP3 file that finds out whether it is whole.

Frame headers as in ISO/IEC 11172-3 and 13818-3; the Xing/Info header and its LAME
extension as http://gabriel.mp3-tech.org/mp3infotag.html describes them.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audiform.errors import AudioError
from audiform.io.id3 import id3_end

_KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

#: Samples by which every MP3 decoder is late; encoders count their delay without it.
DECODER_DELAY = 528 + 1

#: Where delay and padding (12 bits each) stand after the encoder's name.
_GAPS_OFFSET = 21

#: From "Xing" or "Info": to the encoder's name (with all optional fields, as LAME and FFmpeg
#: write them), and to the CRC-16, which is that of the frame's first 190 bytes.
_LAME_OFFSET = 120
_LAME_CRC_OFFSET = 154
_LAME_CRC_RANGE = 190

#: Fraunhofer's header stands at the same place in every frame.
_VBRI_OFFSET = 4 + 32

#: As many bytes of nonsense before the first frame, or between two, are looked through.
_MAX_SEARCH = 1 << 16
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class FrameHeader:
    """What the four bytes before each frame say."""

    layer: int
    sample_rate: int
    num_bytes: int
    num_samples: int
    side_info_bytes: int


@dataclass(frozen=True)
class Frames:
    """Where the frames of a file begin and end, in bytes, and how many they are."""

    start: int
    end: int
    count: int


@dataclass(frozen=True)
class FileHeader:
    """The Xing, Info or VBRI header.

    ``num_frames`` is the number of frames after it. ``num_samples`` is the length without what
    the encoder added, as LAME and FFmpeg say it. None where the header does not say.
    """

    num_frames: int | None
    num_samples: int | None


def parse_frame(head: bytes) -> FrameHeader | None:
    """Return what the frame header ``head`` (4 bytes) says, None if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = (head[1] >> 3) & 3, 4 - ((head[1] >> 1) & 3)
    kbps_index, rate_index = head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or layer == 4 or kbps_index in (0, 15) or rate_index == 3 or head[3] & 3 == 2:
        return None
    is_mpeg1 = version == 3
    rate = _RATES_HZ[version][rate_index]
    bits_per_second = 1000 * _KBPS[1 if is_mpeg1 else 2, layer][kbps_index]
    padding = (head[2] >> 1) & 1
    if layer == 1:
        num_samples, num_bytes = 384, (12 * bits_per_second // rate + padding) * 4
    else:
        num_samples = 576 if layer == 3 and not is_mpeg1 else 1152
        num_bytes = num_samples // 8 * bits_per_second // rate + padding
    is_mono = head[3] >> 6 == 3
    side_info = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    return FrameHeader(layer, rate, num_bytes, num_samples, side_info)


def audio_range(file: BinaryIO) -> tuple[int, int] | None:
    """Return where the frames begin and end, without tags and junk; None if there are none."""
    end = _audio_end(file)
    start = _first_frame(file, id3_end(file), end)
    return None if start is None else (start, end)


def read_header(file: BinaryIO) -> FileHeader | None:
    """Return the Xing, Info or VBRI header of an MP3, None if there is none."""
    found = audio_range(file)
    if found is None:
        return None
    file.seek(found[0])
    head = file.read(4)
    frame = parse_frame(head)
    return None if frame is None else _file_header(head + file.read(frame.num_bytes - 4), frame)


def set_num_samples(path: Path, num_samples: int) -> None:
    """Correct the padding in the LAME header of an MP3 that must have ``num_samples``.

    FFmpeg's muxer says at most one frame of it, so less than 47 samples would become 47.
    """
    with path.open("r+b") as file:
        header, found = read_header(file), audio_range(file)
        if header is None or header.num_samples in (None, num_samples) or found is None:
            return
        file.seek(found[0])
        data = bytearray(file.read(_LAME_CRC_RANGE + 2))
        frame = parse_frame(bytes(data[:4]))
        assert frame is not None and header.num_samples is not None
        crc_at = 4 + frame.side_info_bytes + _LAME_CRC_OFFSET
        at = crc_at - _LAME_CRC_OFFSET + _LAME_OFFSET + _GAPS_OFFSET
        gaps = int.from_bytes(data[at : at + 3], "big") + header.num_samples - num_samples
        data[at : at + 3] = gaps.to_bytes(3, "big")
        data[crc_at : crc_at + 2] = lame_crc(data, crc_at).to_bytes(2, "big")
        file.seek(found[0])
        file.write(data)


def lame_crc(data: bytes | bytearray, crc_at: int) -> int:
    """CRC-16/ARC of a frame with a LAME header, whose own place ``crc_at`` counts as zero."""
    data = bytearray(data[:_LAME_CRC_RANGE])
    data[crc_at : crc_at + 2] = bytes(2) if crc_at < _LAME_CRC_RANGE else b""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def check_complete(path: Path) -> None:
    """Raise :class:`AudioError` if frames are missing, or the last one is cut."""
    count = walk(path).count
    with path.open("rb") as file:
        header = read_header(file)
    if header is None or header.num_frames is None:
        return
    # The header is a frame itself. LAME and FFmpeg do not count it, some encoders do.
    slack = 1 if header.num_samples is None else 0
    if count - 1 + slack < header.num_frames:
        raise AudioError(
            f"is cut short: its header promises {header.num_frames} frames, found {count - 1}; "
            "copy or download it again",
            path=path,
        )


def walk(path: Path) -> Frames:
    """Go from frame to frame; raises :class:`AudioError` where one is cut or none follows."""
    with path.open("rb") as file:
        found = audio_range(file)
        if found is None:
            raise AudioError(
                "no MPEG audio frames were found in it; it is damaged or no MP3", path=path
            )
        return _walk(file, path, *found)


def _walk(file: BinaryIO, path: Path, start: int, end: int) -> Frames:
    count, offset = 0, start
    window_start, window = start, b""
    rate = None
    while offset + 4 <= end:
        if not window_start <= offset <= window_start + len(window) - 4:
            file.seek(offset)
            window_start, window = offset, file.read(min(_READ_BYTES, end - offset))
        at = offset - window_start
        frame = parse_frame(window[at : at + 4])
        if frame is None:
            _require_zeros(file, path, offset, end, count)
            return Frames(start, offset, count)
        rate = rate or frame.sample_rate
        if offset + frame.num_bytes > end:
            raise AudioError(
                f"is cut short: the last frame (number {count + 1}) has "
                f"{end - offset} of {frame.num_bytes} bytes; copy or download it again",
                path=path,
            )
        count += 1
        offset += frame.num_bytes
    if end > offset and any(window[offset - window_start :]):
        raise AudioError(
            f"is cut short: {end - offset} bytes of a next frame follow frame {count}; "
            "copy or download it again",
            path=path,
        )
    return Frames(start, offset, count)


def _require_zeros(file: BinaryIO, path: Path, offset: int, end: int, count: int) -> None:
    """Zeros at the end of the file are harmless; anything else after a frame is damage."""
    file.seek(offset)
    while offset < end:
        chunk = file.read(min(_READ_BYTES, end - offset))
        if chunk.strip(b"\x00"):
            raise AudioError(
                f"is damaged: no frame header where one must be, after {count} frames; "
                "copy or download it again",
                path=path,
            )
        offset += len(chunk)


def _first_frame(file: BinaryIO, start: int, end: int) -> int | None:
    """Return where the first frame begins: one that another of its rate follows, or the end."""
    file.seek(start)
    window = file.read(max(0, min(_MAX_SEARCH + 4096, end - start)))
    for at in range(min(len(window), _MAX_SEARCH)):
        frame = parse_frame(window[at : at + 4])
        if frame is None:
            continue
        after = at + frame.num_bytes
        following = parse_frame(window[after : after + 4])
        if start + after >= end or (following and following.sample_rate == frame.sample_rate):
            return start + at
    return None


def _audio_end(file: BinaryIO) -> int:
    """Return where the tags at the end (ID3v1, APEv2, Lyrics3) begin."""
    end = os.fstat(file.fileno()).st_size
    if _read_at(file, end - 128, 3) == b"TAG":
        end -= 128
    if _read_at(file, end - 9, 9) == b"LYRICS200":
        size = _read_at(file, end - 15, 6)
        end -= 15 + (int(size) if size.isdigit() else 0)
    if _read_at(file, end - 32, 8) == b"APETAGEX":
        size, _, flags = struct.unpack("<III", _read_at(file, end - 20, 12))
        end -= size + (32 if flags & 0x80000000 else 0)
    return max(end, 0)


def _read_at(file: BinaryIO, offset: int, num_bytes: int) -> bytes:
    if offset < 0:
        return b""
    file.seek(offset)
    return file.read(num_bytes)


def _file_header(data: bytes, frame: FrameHeader) -> FileHeader | None:
    if data[_VBRI_OFFSET : _VBRI_OFFSET + 4] == b"VBRI":
        count = data[_VBRI_OFFSET + 14 : _VBRI_OFFSET + 18]
        return FileHeader(int.from_bytes(count, "big"), None)
    at = 4 + frame.side_info_bytes
    if data[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags = int.from_bytes(data[at + 4 : at + 8], "big")
    at += 8
    if not flags & 1:
        return FileHeader(None, None)
    num_frames = int.from_bytes(data[at : at + 4], "big")
    at += 4 + (4 if flags & 2 else 0) + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    encoder, gaps = (
        data[at : at + 4],
        int.from_bytes(data[at + _GAPS_OFFSET : at + _GAPS_OFFSET + 3], "big"),
    )
    if encoder not in (b"LAME", b"Lavf", b"Lavc"):
        return FileHeader(num_frames, None)
    delay = (gaps >> 12) + DECODER_DELAY
    padding = max(0, (gaps & 0xFFF) - DECODER_DELAY)
    return FileHeader(num_frames, num_frames * frame.num_samples - delay - padding)
