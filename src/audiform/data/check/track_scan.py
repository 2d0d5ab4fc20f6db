"""One pass over all files of a track at once; a second one only where stems do not add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from audiform.data.check.file_scan import FileScan, FileScanner
from audiform.data.check.mixing import (
    KEPT_BLOCKS,
    Misplaced,
    MixAccumulator,
    MixFit,
    find_misplaced,
)
from audiform.data.check.pairing import PairAccumulator, PairFit
from audiform.data.track import INPUT, MIXTURE, TARGET, AudioRef, Track
from audiform.errors import AudioError
from audiform.io.read import BLOCK_SAMPLES, AudioReader

#: Stems that add up to better than this (dB) need no second look.
ADDS_UP_DB = -25.0


@dataclass(frozen=True, eq=False)
class TrackScan:
    """All that was measured of a track; ``mix`` where there is a mixture, ``pair`` of effects."""

    track: Track
    files: tuple[FileScan, ...]
    mix: MixFit | None = None
    misplaced: Misplaced | None = None
    pair: PairFit | None = None


class _Open:
    """A file being read: its next block, or why there is none."""

    def __init__(self, source: str, ref: AudioRef) -> None:
        self.source, self.ref = source, ref
        self.problem: str | None = None
        self.ended = False
        self._scanner: FileScanner | None = None
        try:
            self._reader = AudioReader(ref.path, stream=ref.stream)
        except AudioError as error:
            self._fail(error)
            return
        self.channels = self._reader.info.num_channels
        self.sample_rate = self._reader.info.sample_rate
        self._scanner = FileScanner(source, ref, self._reader.info)
        self._blocks = iter(self._reader)

    def next(self) -> np.ndarray | None:
        if self.ended:
            return None
        try:
            block = next(self._blocks, None)
        except AudioError as error:
            self._fail(error)
            return None
        if block is None:
            self.ended = True
            return None
        assert self._scanner is not None
        self._scanner.push(block)
        return block

    def _fail(self, error: AudioError) -> None:
        self.problem = str(error).removeprefix(f"{self.ref.path}: ")
        self.ended = True

    def close(self) -> FileScan:
        if self._scanner is None:
            return FileScan(self.source, self.ref, None, self.problem)
        self._reader.close()
        return self._scanner.finish(self.problem)


def scan_track(track: Track) -> TrackScan:
    """Decode all files of ``track`` once, a block of each at a time."""
    opened = [_Open(source, ref) for source, ref in track.files()]
    usable = _is_comparable(opened)
    mixture = next((index for index, file in enumerate(opened) if file.source == MIXTURE), None)
    stems = [index for index in range(len(opened)) if index != mixture]
    mix = MixAccumulator(len(stems)) if usable and mixture is not None and track.is_sum else None
    pair = _pair_of(track, opened) if usable else None
    for blocks in _in_step(opened):
        if mix is not None:
            assert mixture is not None
            together = _equal(blocks)
            mix.push(together[mixture], together[stems])
        if pair is not None:
            pair.push(blocks)
    files = tuple(file.close() for file in opened)
    if any(file.problem for file in files):
        return TrackScan(track, files)
    fit = mix.finish() if mix is not None else None
    misplaced = None
    if fit is not None and fit.fitted_db > ADDS_UP_DB:
        assert mixture is not None
        misplaced = find_misplaced(_loudest_blocks(track, fit, mixture, stems))
    return TrackScan(track, files, fit, misplaced, pair.finish(files) if pair is not None else None)


def _is_comparable(opened: list[_Open]) -> bool:
    """Whether the files can be laid over each other: all open, one rate, mono or equal channels."""
    if any(file.problem for file in opened):
        return False
    counts = {file.channels for file in opened}
    return len({file.sample_rate for file in opened}) == 1 and len(counts - {1}) <= 1


def _in_step(opened: list[_Open]) -> Iterator[list[np.ndarray]]:
    """Yield a block of every file until all have ended; what is missing at the end is silence."""
    while True:
        blocks = [file.next() for file in opened]
        present = [block for block in blocks if block is not None]
        if not present:
            return
        length = max(block.shape[1] for block in present)
        yield [
            np.zeros((1, length), np.float32)
            if block is None
            else np.pad(block, ((0, 0), (0, length - block.shape[1])))
            for block in blocks
        ]


def _equal(blocks: list[np.ndarray]) -> np.ndarray:
    """Return blocks as (files, channels, time); mono is repeated."""
    channels = max(len(block) for block in blocks)
    shape = (len(blocks), channels, blocks[0].shape[1])
    together = np.empty(shape, np.float32)
    for index, block in enumerate(blocks):
        together[index] = block
    return together


class _PairOfBlocks:
    """Feeds a :class:`PairAccumulator` the input's and the output's mean over channels."""

    def __init__(self, sample_rate: int, first: int, second: int) -> None:
        self._accumulator = PairAccumulator(sample_rate)
        self._first, self._second = first, second

    def push(self, blocks: list[np.ndarray]) -> None:
        self._accumulator.push(blocks[self._first].mean(axis=0), blocks[self._second].mean(axis=0))

    def finish(self, files: tuple[FileScan, ...]) -> PairFit | None:
        return self._accumulator.finish(
            dry_samples=files[self._first].num_samples, wet_samples=files[self._second].num_samples
        )


def _pair_of(track: Track, opened: list[_Open]) -> _PairOfBlocks | None:
    sources = [file.source for file in opened]
    if track.is_sum or sorted(sources) != [INPUT, TARGET]:
        return None
    return _PairOfBlocks(opened[0].sample_rate, sources.index(INPUT), sources.index(TARGET))


def _loudest_blocks(
    track: Track, fit: MixFit, mixture: int, stems: list[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the track again, keeping its loudest whole blocks as the mean over channels."""
    order = np.argsort(-fit.block_energy[: max(1, len(fit.block_energy) - 1)])
    wanted = set(order[:KEPT_BLOCKS].tolist())
    opened = [_Open(source, ref) for source, ref in track.files()]
    kept = []
    for index, blocks in zip(count(), _in_step(opened), strict=False):
        if index in wanted:
            mono = _equal(blocks).mean(axis=1, dtype=np.float64)
            if mono.shape[1] == BLOCK_SAMPLES or len(fit.block_energy) == 1:
                kept.append((mono[mixture], mono[stems]))
        if len(kept) == len(wanted):
            break
    for file in opened:
        file.close()
    return kept
