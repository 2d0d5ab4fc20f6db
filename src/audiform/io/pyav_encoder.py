"""MP3, AAC in MP4, and Opus through PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from audiform.io.file_slice import FileSlice
from audiform.io.id3 import id3_bytes
from audiform.io.mp4_tags import tag_mp4
from audiform.io.mpeg_frames import set_num_samples
from audiform.io.tags import Tags
from audiform.io.vorbis_comment import retag_ogg

_LAYOUTS = {1: "mono", 2: "stereo"}


class PyavEncoder:
    """Encodes float32 samples (time, channels) with FFmpeg into a file at ``path``."""

    def __init__(
        self,
        path: Path,
        *,
        container: str,
        codec: str,
        sample_rate: int,
        num_channels: int,
        bitrate_kbps: int,
        tags: Tags,
        codec_options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> None:
        self.path = path
        self.container = container
        self.tags = tags
        self.sample_rate = sample_rate
        self.layout = _LAYOUTS[num_channels]
        self._file = path.open("w+b")
        if container == "mp3":
            self._file.write(id3_bytes(tags))
        self._output = av.open(
            FileSlice(self._file, self._file.tell()),
            mode="w",
            format=container,
            options=container_options or {},
        )
        stream = self._output.add_stream(codec, rate=sample_rate, layout=self.layout)
        assert isinstance(stream, av.AudioStream)
        self._stream = stream
        context = stream.codec_context
        formats = [format.name for format in context.codec.audio_formats or ()]
        self._sample_format = "fltp" if "fltp" in formats else "flt"
        context.format = self._sample_format
        context.bit_rate = 1000 * bitrate_kbps
        context.options = codec_options or {}
        context.time_base = Fraction(1, sample_rate)
        self._output.start_encoding()
        self._frame_samples = context.frame_size or 1024
        self._pending = np.zeros((0, num_channels), np.float32)
        self._num_encoded = 0

    def write(self, samples: np.ndarray) -> None:
        """Append ``samples`` (time, channels), float32."""
        pending = np.concatenate([self._pending, samples])
        whole = len(pending) - len(pending) % self._frame_samples
        for start in range(0, whole, self._frame_samples):
            self._encode(pending[start : start + self._frame_samples])
        self._pending = pending[whole:]

    def close(self) -> None:
        """Encode the rest, finish the file and write the tags."""
        if len(self._pending):
            self._encode(self._pending)
        self._output.mux(self._stream.encode(None))
        self._output.close()
        self._file.close()
        if self.container == "mp3":
            set_num_samples(self.path, self._num_encoded)
        if not self.tags:
            return
        if self.container == "mp4":
            tag_mp4(self.path, self.tags)
        elif self.container == "opus":
            retag_ogg(self.path, self.tags)

    def discard(self) -> None:
        """Close the file as it is."""
        try:
            self._output.close()
        finally:
            self._file.close()

    def _encode(self, samples: np.ndarray) -> None:
        plane = samples.T if self._sample_format == "fltp" else samples.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(plane), format=self._sample_format, layout=self.layout
        )
        frame.sample_rate = self.sample_rate
        frame.time_base = Fraction(1, self.sample_rate)
        frame.pts = self._num_encoded
        self._num_encoded += len(samples)
        self._output.mux(self._stream.encode(frame))
