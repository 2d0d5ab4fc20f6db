"""From the blocks of a track to blocks of its stems, in step with the mixture.

Rates and channels change here and nowhere else: the track's blocks go to the model's rate and
channels, the stems come back to the rate asked for and the track's channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from audiform.inference.engine import ProgressCallback
from audiform.inference.track import Block, to_model_channels
from audiform.io import StreamResampler, resampled_length
from audiform.protocols import SeparationSpec


@runtime_checkable
class StemStream(Protocol):
    """What the pipeline needs of a stream: blocks in, final stems out."""

    def push(self, block: Tensor) -> Tensor:
        """Take in a block; return what is final."""
        ...

    def finish(self) -> Tensor:
        """Return the rest."""
        ...


@dataclass(frozen=True)
class StemBlock:
    """A stretch of the mixture and of its stems, at one rate and of one length."""

    mixture: Block
    stems: Float32[np.ndarray, "sources channels time"]


class _Queue:
    """Blocks that wait until the stems have caught up with them."""

    def __init__(self, num_channels: int) -> None:
        self._held = np.zeros((num_channels, 0), dtype=np.float32)

    def push(self, block: Block) -> None:
        self._held = np.concatenate([self._held, block], axis=1)

    def take(self, count: int) -> Block:
        taken, self._held = self._held[:, :count], self._held[:, count:].copy()
        return taken


def separate_blocks(
    blocks: Iterable[Block],
    stream: StemStream,
    spec: SeparationSpec,
    *,
    num_channels: int,
    sample_rate: int,
    output_rate: int,
    num_samples: int | None = None,
    on_progress: ProgressCallback | None = None,
) -> Iterator[StemBlock]:
    """Separate ``blocks`` of ``num_channels`` at ``sample_rate``; the stems have ``output_rate``.

    All blocks together are exactly as long as the track at that rate. ``on_progress`` is told
    after each block how many samples of the track are separated, and ``num_samples`` (the
    track's length, where known).
    """
    to_model = StreamResampler(
        from_rate_hz=sample_rate, to_rate_hz=spec.sample_rate, num_channels=spec.audio_channels
    )
    mixture_to_output = StreamResampler(
        from_rate_hz=sample_rate, to_rate_hz=output_rate, num_channels=num_channels
    )
    num_sources = len(spec.sources)
    stems_to_output = StreamResampler(
        from_rate_hz=spec.sample_rate,
        to_rate_hz=output_rate,
        num_channels=num_sources * num_channels,
    )
    queue = _Queue(num_channels)

    def as_track(stems: Tensor) -> Block:
        """Return (sources x channels, time) with the track's channels."""
        array = stems.numpy()
        if num_channels < spec.audio_channels:
            array = array.mean(axis=1, keepdims=True)
        return np.ascontiguousarray(array.reshape(num_sources * num_channels, array.shape[-1]))

    def joined(stems: Block) -> StemBlock:
        return StemBlock(
            mixture=queue.take(stems.shape[1]),
            stems=stems.reshape(num_sources, num_channels, stems.shape[1]),
        )

    done = ready = 0
    for block in blocks:
        queue.push(mixture_to_output.push(block))
        adapted = to_model.push(to_model_channels(block, audio_channels=spec.audio_channels))
        stems = stems_to_output.push(as_track(stream.push(torch.from_numpy(adapted))))
        done += block.shape[1]
        ready += stems.shape[1]
        if on_progress is not None:
            on_progress(ready * sample_rate // output_rate, num_samples)
        if stems.shape[1]:
            yield joined(stems)

    output_length = resampled_length(done, from_rate_hz=sample_rate, to_rate_hz=output_rate)
    queue.push(mixture_to_output.finish(output_length))
    parts = [as_track(stream.push(torch.from_numpy(to_model.finish()))), as_track(stream.finish())]
    last = stems_to_output.push(np.concatenate(parts, axis=1))
    stems = np.concatenate([last, stems_to_output.finish(output_length)], axis=1)
    if on_progress is not None:
        on_progress(done, num_samples)
    if stems.shape[1]:
        yield joined(stems)
