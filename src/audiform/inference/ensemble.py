"""Several streams over one track, averaged: shifts of one model, members of a bag.

The streams run in lockstep on the same blocks, so that memory stays constant here too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.errors import ConfigError
from audiform.inference.engine import SegmentStream

#: Shifts move the track by up to this much (Demucs).
MAX_SHIFT_SECONDS = 0.5


def shift_delays(count: int, *, sample_rate: int, seed: int) -> list[int]:
    """Draw the delays of ``count`` shifted passes, in samples; no shift for ``count`` = 0.

    Each lies in [0, 0.5 s]; the same seed draws the same delays, whatever else was drawn.
    """
    if count < 0:
        raise ConfigError(f"shifts must be 0 or more, got {count}")
    if count == 0:
        return [0]
    longest = int(MAX_SHIFT_SECONDS * sample_rate)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, longest + 1, (count,), generator=generator).tolist()


class StreamMean:
    """Weighted mean of streams: ``weights[stream][source]``, divided by their sum per source."""

    def __init__(
        self, streams: Sequence[SegmentStream], weights: Sequence[Sequence[float]]
    ) -> None:
        self._streams = tuple(streams)
        shares = torch.tensor(weights, dtype=torch.float64)
        totals = shares.sum(dim=0)
        # a source that no member counts for comes out silent rather than as NaN
        self._shares = (shares / torch.where(totals == 0, 1.0, totals)).float()[..., None, None]
        self._waiting: list[Tensor | None] = [None] * len(self._streams)

    def push(self, block: Float[Tensor, "channels time"]) -> Float[Tensor, "sources channels out"]:
        """Take in a block; return what has become final in every stream."""
        return self._merge([stream.push(block) for stream in self._streams])

    def finish(self) -> Float[Tensor, "sources channels out"]:
        """Return the rest."""
        return self._merge([stream.finish() for stream in self._streams])

    def _merge(self, outputs: list[Tensor]) -> Tensor:
        queues = [
            output if held is None else torch.cat([held, output], dim=-1)
            for held, output in zip(self._waiting, outputs, strict=True)
        ]
        ready = min(queue.shape[-1] for queue in queues)
        self._waiting = [queue[..., ready:].clone() for queue in queues]
        if len(queues) == 1:
            return queues[0]
        mean = torch.zeros_like(queues[0][..., :ready])
        for share, queue in zip(self._shares, queues, strict=True):
            mean += share * queue[..., :ready]
        return mean
