"""FLAC and Ogg Vorbis through libsndfile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from audiform.io.tags import Tags
from audiform.io.vorbis_comment import retag_flac, retag_ogg

#: libsndfile's Vorbis encoder keeps a whole write on the stack and crashes on long ones; and
#: what it makes of them depends on their length, so all have the same.
WRITE_SAMPLES = 4096

#: 0 fastest, 1 smallest: level 5 of FLAC's 8, which all encoders default to.
FLAC_COMPRESSION = 5 / 8

#: Of 0 to 1, about 256 kbit/s for stereo; libsndfile takes one minus it.
VORBIS_QUALITY = 0.8


class SoundfileEncoder:
    """Encodes samples (time, channels) into a FLAC or Ogg Vorbis file at ``path``."""

    def __init__(
        self,
        path: Path,
        *,
        container: str,
        subtype: str,
        sample_rate: int,
        num_channels: int,
        tags: Tags,
    ) -> None:
        self.path = path
        self.container = container
        self.tags = tags
        self._pending: np.ndarray | None = None
        self._file = soundfile.SoundFile(
            path,
            mode="w",
            samplerate=sample_rate,
            channels=num_channels,
            format=container,
            subtype=subtype,
            compression_level=FLAC_COMPRESSION if container == "FLAC" else 1 - VORBIS_QUALITY,
        )

    def write(self, samples: np.ndarray) -> None:
        """Append ``samples`` (time, channels): int32, left-aligned in 32 bits, or float32."""
        pending = samples if self._pending is None else np.concatenate([self._pending, samples])
        whole = len(pending) - len(pending) % WRITE_SAMPLES
        for start in range(0, whole, WRITE_SAMPLES):
            self._file.write(np.ascontiguousarray(pending[start : start + WRITE_SAMPLES]))
        self._pending = pending[whole:].copy()

    def close(self) -> None:
        """Finish the file and write the tags."""
        if self._pending is not None and len(self._pending):
            self._file.write(self._pending)
        self._file.close()
        if self.container == "OGG":
            retag_ogg(self.path, self.tags)
        elif self.tags:
            retag_flac(self.path, self.tags)

    def discard(self) -> None:
        """Close the file as it is."""
        self._file.close()
