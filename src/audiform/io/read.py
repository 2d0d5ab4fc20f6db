"""Reading audio files block by block, in memory that does not grow with their length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from audiform.audio import Audio
from audiform.errors import AudioError
from audiform.io.completeness import check_complete
from audiform.io.probe import AudioInfo, check_readable, is_for_soundfile, probe
from audiform.io.pyav_source import pyav_blocks
from audiform.io.soundfile_source import soundfile_blocks

BLOCK_SAMPLES = 1 << 16


class AudioReader:
    """The audio of a file as float32 blocks (channels, n), nominally in [-1, 1].

    All blocks but the last have ``block_samples`` samples. Each iteration starts at the
    beginning, so a file can be gone through twice. ``info`` is what the file says of itself.
    ``stream`` counts the audio streams from 0, where a file has several, as .stem.mp4 has.

    Raises :class:`AudioError` when it is opened, if the file is absent, no audio, cut short or
    visibly damaged, and on iteration as soon as something is wrong: damage, NaN or infinity,
    no samples at all, or fewer than the header promises.
    """

    def __init__(
        self, path: str | Path, *, stream: int = 0, block_samples: int = BLOCK_SAMPLES
    ) -> None:
        if block_samples < 1:
            raise AudioError(f"blocks must have at least 1 sample, got {block_samples}")
        self.info = _probe_or_say_why_not(Path(path), stream)
        self.block_samples = block_samples
        self._blocks: Iterator[np.ndarray] | None = None
        check_complete(self.info.path, container=self.info.container)
        is_plain = stream == 0 and is_for_soundfile(self.info.path)
        self._open = soundfile_blocks if is_plain else pyav_blocks

    def __enter__(self) -> AudioReader:
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file, also when an iteration was left half-way."""
        self.close()

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        if self._blocks is not None:
            self._blocks.close()  # type: ignore[attr-defined]
            self._blocks = None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Go through the file from its beginning."""
        self.close()
        self._blocks = self._checked()
        return self._blocks

    def _checked(self) -> Iterator[np.ndarray]:
        done = 0
        for block in self._open(self.info, self.block_samples):
            self._check_finite(block, done)
            done += block.shape[1]
            yield block
        self._check_length(done)

    def _check_finite(self, block: np.ndarray, done: int) -> None:
        finite = np.isfinite(block)
        if finite.all():
            return
        position = int(np.flatnonzero(~finite.all(axis=0))[0])
        channel = int(np.flatnonzero(~finite[:, position])[0])
        seconds = (done + position) / self.info.sample_rate
        raise AudioError(
            f"contains {block[channel, position]} at {seconds:.3f} s (sample {done + position}, "
            f"channel {channel + 1}), where a number must be; export the file again",
            path=self.info.path,
        )

    def _check_length(self, done: int) -> None:
        if done == 0:
            raise AudioError(
                "contains no audio: the stream has 0 samples; export it again", path=self.info.path
            )
        promised = self.info.num_samples
        if promised is not None and done < promised:
            raise AudioError(
                f"is cut short or damaged: its header promises {promised} samples, decoded {done}; "
                "copy or download it again",
                path=self.info.path,
            )


def _probe_or_say_why_not(path: Path, stream: int) -> AudioInfo:
    """Probe ``path``; of a file that no decoder opens, the container may know what is missing."""
    check_readable(path)
    try:
        return probe(path, stream=stream)
    except AudioError:
        check_complete(path, container="")
        raise


def read(path: str | Path) -> Audio:
    """Return the whole file as an :class:`~audiform.audio.Audio`; raises :class:`AudioError`."""
    with AudioReader(path) as reader:
        samples = np.concatenate(list(reader), axis=1)
        return Audio(samples=torch.from_numpy(samples), sample_rate=reader.info.sample_rate)
