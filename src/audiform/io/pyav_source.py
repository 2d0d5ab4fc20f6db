"""Everything that FFmpeg decodes, through PyAV, cut to the length that the container means.

Encoders add samples before and after the music. FFmpeg drops those at the beginning
(encoder delay, edit lists, pre-skip) and, for MP3 and Opus, at the end; for AAC in MP4 the
end is where the last packet's time and duration, or the edit list, say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from audiform.errors import AudioError
from audiform.io.file_slice import FileSlice
from audiform.io.mp4_boxes import movie_timescale
from audiform.io.mpeg_frames import walk
from audiform.io.probe import MP4, AudioInfo, audio_stream, open_container

#: LAME's field for the padding at the end of an MP3 has 12 bits.
_MAX_MP3_PADDING = 4095

#: Codecs whose decoders check sums or structure and, told so, refuse damage.
_STRICT_CODECS = frozenset({"flac", "alac", "wavpack", "tta", "ape", "aac", "truehd", "mlp"})


def pyav_blocks(info: AudioInfo, block_samples: int) -> Iterator[np.ndarray]:
    """Yield float32 blocks (channels, n <= block_samples); raises :class:`AudioError`."""
    pieces = _trimmed(info)
    if info.container == "mp3" and info.num_samples is not None:
        pieces = _without_padding(pieces, info.num_samples)
    return _regrouped(pieces, block_samples)


def _regrouped(pieces: Iterator[np.ndarray], block_samples: int) -> Iterator[np.ndarray]:
    """Join short pieces and cut long ones: all blocks but the last have ``block_samples``."""
    pending: list[np.ndarray] = []
    held = 0
    for piece in pieces:
        pending.append(piece)
        held += piece.shape[1]
        if held < block_samples:
            continue
        joined = np.concatenate(pending, axis=1)
        whole = held - held % block_samples
        for start in range(0, whole, block_samples):
            yield joined[:, start : start + block_samples].copy()
        pending, held = [joined[:, whole:]], held - whole
    if held:
        yield np.concatenate(pending, axis=1)


def _without_padding(pieces: Iterator[np.ndarray], num_samples: int) -> Iterator[np.ndarray]:
    """Drop what follows ``num_samples``, unless it is more than padding: files joined as one.

    FFmpeg drops padding from the last packet only; short files have more of it.
    """
    beyond: list[np.ndarray] = []
    left = num_samples
    for piece in pieces:
        if left:
            yield piece[:, :left]
        if piece.shape[1] > left:
            beyond.append(piece[:, left:])
        left = max(0, left - piece.shape[1])
        if sum(part.shape[1] for part in beyond) > _MAX_MP3_PADDING:
            yield from beyond
            yield from pieces
            return


def _trimmed(info: AudioInfo) -> Iterator[np.ndarray]:
    """Yield decoded pieces up to the end that the container names.

    The end is known for certain only with the last packet, so about one packet is held back.
    """
    with contextlib.ExitStack() as stack:
        container = stack.enter_context(_open_for_decoding(info, stack))
        stream = audio_stream(container, info.path, info.stream)
        if stream.codec_context.name in _STRICT_CODECS:
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        is_mp4 = container.format.name == MP4
        edit_end = _edit_end(stream, info.path) if is_mp4 else None
        done, packets_end = 0, 0
        held: list[np.ndarray] = []
        for pieces, packet_end in _decoded(container, stream, info):
            if not is_mp4:
                yield from pieces
                continue
            packets_end = packets_end if packet_end is None else packet_end
            if pieces:
                yield from held
                done += sum(piece.shape[1] for piece in held)
                held = pieces
        yield from _cut(held, _audio_end(packets_end, edit_end) - done)


def _open_for_decoding(info: AudioInfo, stack: contextlib.ExitStack) -> av.container.InputContainer:
    """Open the file; of an MP3 only the frames, for FFmpeg takes tags at the end for damage."""
    if info.container != "mp3":
        return open_container(info.path)
    frames = walk(info.path)
    file = stack.enter_context(info.path.open("rb"))
    try:
        return av.open(FileSlice(file, frames.start, frames.end), mode="r", format="mp3")
    except (av.error.FFmpegError, ValueError) as error:
        raise _damaged(info, 0, str(error)) from error


def _decoded(
    container: av.container.InputContainer, stream: av.AudioStream, info: AudioInfo
) -> Iterator[tuple[list[np.ndarray], int | None]]:
    """Yield each packet's pieces, and where it ends in samples (None: it has no time)."""
    done = 0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt and info.container != "wav":  # a piped WAV just ends
                raise _damaged(info, done, "a packet is cut")
            end = None
            if packet.size and packet.pts is not None and packet.duration:
                ticks = packet.pts + packet.duration - max(stream.start_time or 0, 0)
                end = round(ticks * Fraction(packet.time_base) * info.sample_rate)
            pieces = [_as_float(frame, info, done) for frame in packet.decode()]
            done += sum(piece.shape[1] for piece in pieces)
            yield [piece for piece in pieces if piece.shape[1]], end
    except av.error.FFmpegError as error:
        raise _damaged(info, done, error.strerror or type(error).__name__) from error


def _edit_end(stream: av.AudioStream, path: Path) -> tuple[int, int] | None:
    """Return the end by the edit list in samples, and by how much it may be wrong."""
    timescale = movie_timescale(path)
    if stream.duration is None or stream.time_base is None or timescale is None:
        return None
    end = round(stream.duration * stream.time_base * stream.rate)
    return end, -(-stream.rate // timescale)


def _audio_end(packet_end: int, edit_end: tuple[int, int] | None) -> int:
    """Return the end in samples: the packets', unless the edit list clearly ends earlier."""
    if edit_end is None:
        return packet_end
    end, tolerance = edit_end
    return end if packet_end - end > tolerance else packet_end


def _cut(pieces: list[np.ndarray], num_samples: int) -> Iterator[np.ndarray]:
    for piece in pieces:
        if num_samples <= 0:
            return
        yield piece[:, :num_samples]
        num_samples -= piece.shape[1]


def _as_float(frame: av.AudioFrame, info: AudioInfo, done: int) -> np.ndarray:
    num_channels = frame.layout.nb_channels
    if frame.sample_rate != info.sample_rate or num_channels != info.num_channels:
        raise _damaged(
            info,
            done,
            f"the audio changes from {info.num_channels} channels at {info.sample_rate} Hz to "
            f"{num_channels} channels at {frame.sample_rate} Hz",
        )
    try:
        samples = frame.to_ndarray()
    except ValueError:
        raise AudioError(
            f"holds samples of the kind {frame.format.name!r}, which are not read here; "
            "convert it to 32-bit float WAV",
            path=info.path,
        ) from None
    if not frame.format.is_planar:
        samples = samples.reshape(-1, num_channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif np.issubdtype(samples.dtype, np.integer):
        scale = np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
        samples = samples.astype(np.float32) / scale
    return np.array(samples, dtype=np.float32, order="C")


def _damaged(info: AudioInfo, done: int, what: str) -> AudioError:
    return AudioError(
        f"is damaged {done / info.sample_rate:.3f} s from the start ({what}); "
        "copy or download it again",
        path=info.path,
    )
