"""FLAC and Ogg Vorbis through libsndfile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from audiform.io.tags import Tags
from audiform.io.vorbis_comment import retag_flac, retag_ogg

#: libsndfile's Vorbis encoder keeps a whole write on the stack and crashes on long ones.
MAX_WRITE_SAMPLES = 4096

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
        for start in range(0, len(samples), MAX_WRITE_SAMPLES):
            self._file.write(np.ascontiguousarray(samples[start : start + MAX_WRITE_SAMPLES]))

    def close(self) -> None:
        """Finish the file and write the tags."""
        self._file.close()
        if self.tags:
            retag = retag_flac if self.container == "FLAC" else retag_ogg
            retag(self.path, self.tags)

    def discard(self) -> None:
        """Close the file as it is."""
        self._file.close()
