"""Signals and files that the tests of ``audiform.io`` share; all are generated."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from audiform.io import AudioReader, OutputFormat, open_writer

PCM = [
    OutputFormat("wav"),
    OutputFormat("wav", bit_depth=24),
    OutputFormat("wav", is_float=True),
    OutputFormat("flac"),
    OutputFormat("flac", bit_depth=24),
]
LOSSY = [OutputFormat(name) for name in ("ogg", "mp3", "m4a", "opus")]


def label(format: OutputFormat) -> str:
    return format.name + ("_float" if format.is_float else f"_{format.bits}" if format.bits else "")


def sine(num_samples: int, num_channels: int = 2, sample_rate: int = 44100) -> np.ndarray:
    time = np.arange(num_samples) / sample_rate
    phases = np.arange(num_channels)[:, None]
    return (0.3 * np.sin(2 * np.pi * 330 * time + phases)).astype(np.float32)


def noisy(num_samples: int, num_channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(7)
    noise = rng.standard_normal((num_channels, num_samples)) * 0.05
    return (sine(num_samples, num_channels) + noise).astype(np.float32)


def write(path, samples, format, sample_rate=44100, *, block=5000, **options):
    """Write in blocks; returns the writer."""
    with open_writer(
        path, format=format, sample_rate=sample_rate, num_channels=len(samples), **options
    ) as writer:
        for start in range(0, samples.shape[1], block):
            writer.write(samples[:, start : start + block])
        writer.commit()
    return writer


def read(path, **options) -> np.ndarray:
    with AudioReader(path, **options) as reader:
        return np.concatenate(list(reader), axis=1)


def encode(
    path, samples, *, container, codec, sample_format, sample_rate=44100, layout=None, **options
):
    """Write with FFmpeg alone, for what the package does not write itself."""
    layout = layout or {1: "mono", 2: "stereo"}[len(samples)]
    with av.open(str(path), mode="w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=sample_rate, layout=layout)
        context = stream.codec_context
        context.format = sample_format
        context.bit_rate = 128_000
        context.time_base = Fraction(1, sample_rate)
        output.start_encoding()
        size = context.frame_size or 4096
        for start in range(0, samples.shape[1], size):
            piece = samples[:, start : start + size]
            if sample_format.startswith("s16"):
                piece = np.rint(piece * 32767).astype(np.int16)
            elif sample_format.startswith("s32"):
                piece = np.rint(piece * 8388607).astype(np.int32) << 8
            if not sample_format.endswith("p"):
                piece = piece.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece), format=sample_format, layout=layout
            )
            frame.sample_rate = sample_rate
            frame.pts = start
            frame.time_base = Fraction(1, sample_rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def picture(codec: str = "png") -> bytes:
    """Return a small picture file, as PNG or JPEG ("mjpeg")."""
    context = av.CodecContext.create(codec, "w")
    context.width = context.height = 16
    context.pix_fmt = "rgb24" if codec == "png" else "yuvj420p"
    context.time_base = Fraction(1, 1)
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=context.pix_fmt)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
