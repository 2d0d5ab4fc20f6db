"""Songs of any length for benchmarks, made of the example in the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

EXAMPLE = Path(__file__).parents[1] / "examples" / "everything_is_free" / "mixture.flac"


def write_song(path: Path, *, seconds: float) -> Path:
    """Write a 16-bit wav: the example over and over, each time a little different."""
    song, rate = soundfile.read(EXAMPLE, dtype="float32")
    generator = np.random.default_rng(0)
    left = int(seconds * rate)
    container = "WAV" if 4 * left < 2**32 - 2**16 else "RF64"  # the peer reads no RF64
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16", format=container) as file:
        while left > 0:
            gains = generator.uniform(0.5, 0.9, 2).astype(np.float32)
            piece = (song * gains)[:left]
            file.write(piece)
            left -= len(piece)
    return path
