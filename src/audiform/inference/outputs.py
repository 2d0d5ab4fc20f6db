"""Stems into files: opened before the network runs, renamed when all of them are complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from audiform.errors import AudioError
from audiform.inference.clipping import ClipMode, clamp, needs_peaks, output_gains
from audiform.inference.scratch import ScratchFile
from audiform.io import (
    AudioWriter,
    OutputFormat,
    Tags,
    encoded_size_estimate,
    free_bytes,
    open_writer,
)

#: Left free on the disk beyond what a track is estimated to need.
DISK_RESERVE_BYTES = 50 * 2**20


@dataclass(frozen=True)
class WrittenStems:
    """What was written: paths by name, the gains used, and what is worth a remark."""

    paths: dict[str, Path]
    gains: dict[str, float]
    sample_rate: int
    num_samples: int
    notes: tuple[str, ...]


class StemWriter:
    """Writes the outputs of one track, all of them or none.

    A context manager: leaving it without :meth:`commit` removes everything. ``num_samples`` is
    the length that is going to be written. Raises :class:`AudioError` when the folder cannot
    be written or its disk is too full, before any work is done.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        names: Sequence[str],
        *,
        output_format: OutputFormat,
        sample_rate: int,
        num_channels: int,
        num_samples: int,
        clip_mode: ClipMode,
        tags: Tags | None,
    ) -> None:
        self._names = tuple(names)
        self._clip_mode = clip_mode
        self._num_channels = num_channels
        self._sample_rate = sample_rate
        self._peaks = np.zeros(len(names), dtype=np.float32)
        self._num_samples = 0
        with ExitStack() as stack:
            for folder in {path.parent for path in paths}:
                _make_folder(folder)
            scratch_bytes = 4 * num_channels * num_samples * len(names)
            _check_disk(
                paths[0].parent,
                len(paths)
                * encoded_size_estimate(output_format, sample_rate, num_channels, num_samples)
                + (scratch_bytes if needs_peaks(clip_mode) else 0),
            )
            self._writers: list[AudioWriter] = [
                stack.enter_context(
                    open_writer(
                        path,
                        format=output_format,
                        sample_rate=sample_rate,
                        num_channels=num_channels,
                        tags=tags,
                        expected_samples=num_samples,
                    )
                )
                for path in paths
            ]
            self._scratch: ScratchFile | None = None
            if needs_peaks(clip_mode):
                self._scratch = ScratchFile(len(names) * num_channels, folder=paths[0].parent)
                stack.callback(self._scratch.close)
            self._stack = stack.pop_all()

    def __enter__(self) -> StemWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, outputs: np.ndarray) -> None:
        """Take in (outputs, channels, time)."""
        self._num_samples += outputs.shape[-1]
        if outputs.shape[-1]:
            self._peaks = np.maximum(self._peaks, np.abs(outputs).max(axis=(1, 2)))
        if self._scratch is not None:
            self._scratch.append(outputs.reshape(-1, outputs.shape[-1]))
        else:
            self._encode(clamp(outputs) if self._clip_mode == "clamp" else outputs)

    def commit(self) -> WrittenStems:
        """Finish the files and give them their names."""
        gains = output_gains(self._clip_mode, self._peaks)
        if self._scratch is not None:
            for rows in self._scratch.blocks():
                outputs = rows.reshape(len(self._names), self._num_channels, -1)
                self._encode(outputs * gains[:, None, None])
        notes = dict.fromkeys(writer.note for writer in self._writers if writer.note)
        if self._clip_mode == "common" and gains[0] < 1:
            notes[
                f"all stems turned down by {-20 * np.log10(gains[0]):.1f} dB to avoid clipping"
            ] = None
        clipped = {
            name: writer.clipped_samples
            for name, writer in zip(self._names, self._writers, strict=True)
            if writer.clipped_samples
        }
        for name, count in clipped.items():
            notes[f"{name}: {count} samples clipped"] = None
        paths = {
            name: writer.commit() for name, writer in zip(self._names, self._writers, strict=True)
        }
        return WrittenStems(
            paths=paths,
            gains={name: float(gain) for name, gain in zip(self._names, gains, strict=True)},
            sample_rate=self._writers[0].sample_rate,
            num_samples=self._num_samples,
            notes=tuple(note for note in notes if note),
        )

    def _encode(self, outputs: np.ndarray) -> None:
        for writer, output in zip(self._writers, outputs, strict=True):
            writer.write(output)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(
            f"the output folder cannot be made: {error.strerror or error}; "
            "choose another one with --out",
            path=folder,
        ) from error


def _check_disk(folder: Path, needed: int) -> None:
    free = free_bytes(folder)
    if needed + DISK_RESERVE_BYTES > free:
        raise AudioError(
            f"the stems and their scratch file need about {needed / 1e9:.2f} GB, the disk has "
            f"{free / 1e9:.2f} GB left; free some, or write elsewhere or to a smaller --format",
            path=folder,
        )
