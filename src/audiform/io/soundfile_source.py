"""PCM, FLAC and Ogg Vorbis through libsndfile, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from audiform.errors import AudioError
from audiform.io.id3 import id3_end
from audiform.io.probe import AudioInfo

_FULL_SCALE_32 = np.float32(2.0**31)


def soundfile_blocks(info: AudioInfo, block_samples: int) -> Iterator[np.ndarray]:
    """Yield float32 blocks (channels, n <= block_samples); raises :class:`AudioError`."""
    done = 0
    try:
        with soundfile.SoundFile(info.path) as file:
            blocks = _flac_blocks if info.codec == "flac" else _float_blocks
            for block in blocks(file, info, block_samples):
                done += block.shape[1]
                yield block
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"is damaged {done / info.sample_rate:.3f} s from the start "
            f"({error.error_string.strip() or f'libsndfile error {error.code}'}); "
            "copy or download it again",
            path=info.path,
        ) from error


def _float_blocks(
    file: soundfile.SoundFile, info: AudioInfo, block_samples: int
) -> Iterator[np.ndarray]:
    while len(block := file.read(block_samples, dtype="float32", always_2d=True)):
        yield np.ascontiguousarray(block.T)


def _flac_blocks(
    file: soundfile.SoundFile, info: AudioInfo, block_samples: int
) -> Iterator[np.ndarray]:
    """Read integers, so that the MD5 sum which FLAC keeps of them can be compared."""
    promised = flac_md5(info.path)
    bit_depth = info.bit_depth or 16
    md5 = hashlib.md5(usedforsecurity=False)
    while len(block := file.read(block_samples, dtype="int32", always_2d=True)):
        if promised is not None:
            md5.update(_as_stored(block, bit_depth))
        yield np.ascontiguousarray(block.T.astype(np.float32) / _FULL_SCALE_32)
    if promised is not None and md5.digest() != promised:
        raise AudioError(
            f"is damaged: its MD5 sum is {promised.hex()}, that of the decoded audio is "
            f"{md5.hexdigest()}; copy or download it again",
            path=info.path,
        )


def _as_stored(block: np.ndarray, bit_depth: int) -> bytes:
    """Return left-aligned int32 samples as FLAC sums them: interleaved, little endian."""
    num_bytes = (bit_depth + 7) // 8
    little = np.ascontiguousarray(block, dtype="<i4").view(np.uint8).reshape(-1, 4)
    return little[:, 4 - num_bytes :].tobytes()


def flac_md5(path: Path) -> bytes | None:
    """Return the MD5 sum in a FLAC's STREAMINFO, None if the encoder left it out."""
    with path.open("rb") as file:
        file.seek(id3_end(file))
        if file.read(4) != b"fLaC":
            return None
        header = file.read(4)
        body = file.read(34)
    if header[0] & 0x7F != 0 or len(body) < 34 or not any(body[18:]):
        return None
    return body[18:34]
