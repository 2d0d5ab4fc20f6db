"""How many samples of a file were cut off: flat tops, and a pile at the end of the scale."""

from __future__ import annotations

import numpy as np

from audiform.data.check.runs import runs_of

#: So many samples in a row at the peak are a clipped top, not a chance.
CLIPPED_RUN = 3

#: How far below the peak (as a factor) a sample still counts as being at it.
AT_PEAK = 1.0 - 1e-4

#: A top is clipped where a neighbour is lower by so many times the tolerance.
CLIPPED_DROP = 10.0

#: What is cut piles up at the end of the scale: there are this many times more samples than
#: within so many times the distance beneath. The tops of whole waves are no such pile: a sine has
#: 2.3 times as many beneath, and what is louder more rarely has more than that.
PILE, BENEATH = 3.0, 10.0

#: A sound that is played again and again reaches its peak each time in the same way; of a pile no
#: less than this share of the tops have neighbours of their own. So many tops are looked at.
DISTINCT_SHARE, MAX_TOPS = 0.5, 10_000


class FlatTops:
    """Counts samples that were cut off, from blocks of magnitudes (channels, time).

    A smooth peak is flat, too, within the tolerance; but there the neighbours of the flat part
    are lower by less than four times that, on a clipped top the sound drops away. Of a sound
    whose peaks are single samples (a hi-hat) no top is flat: it is cut off where far more samples
    are at the end of the scale than just beneath.
    """

    def __init__(self, step: float) -> None:
        """``step`` is that of the quantiser."""
        self._step = step
        self._top, self._flat = 0.0, 0
        self._full = 1.0 - max((1.0 - AT_PEAK) / 2, 1.5 * step)
        self._beneath = 1.0 - (1.0 + BENEATH) * (1.0 - self._full)
        self._num_full = self._num_beneath = self._num_tops = 0
        self._kinds: set[tuple[int, int]] = set()

    @property
    def num_samples(self) -> int:
        """How many samples were cut off."""
        return max(self._flat, self._num_full) if self._is_piled() else self._flat

    def push(self, magnitude: np.ndarray) -> None:
        """Take in the next block."""
        self._count_flat(magnitude)
        if magnitude.max() < self._full:
            self._num_beneath += int((magnitude >= self._beneath).sum())
            return
        for channel in magnitude:
            self._add_full(channel)

    def _count_flat(self, magnitude: np.ndarray) -> None:
        """Count samples in flat tops at the highest level so far; a higher one starts anew."""
        top = float(magnitude.max())
        if top * AT_PEAK > self._top:
            self._top, self._flat = top, 0
        if top < self._top * AT_PEAK or self._top == 0.0:
            return
        tolerance = max(self._top * (1.0 - AT_PEAK), self._step)
        for channel in magnitude:
            for start, end in runs_of(channel >= self._top - tolerance / 2):
                if end - start < CLIPPED_RUN or start == 0 or end == len(channel):
                    continue
                if self._top - min(channel[start - 1], channel[end]) > CLIPPED_DROP * tolerance:
                    self._flat += end - start

    def _add_full(self, channel: np.ndarray) -> None:
        is_full = channel >= self._full
        self._num_full += int(is_full.sum())
        self._num_beneath += int((channel >= self._beneath).sum() - is_full.sum())
        for start, end in runs_of(is_full)[: MAX_TOPS - self._num_tops]:
            if start > 0 and end < len(channel):
                sides = channel[start - 1] / self._step, channel[end] / self._step
                self._kinds.add((round(float(sides[0])), round(float(sides[1]))))
                self._num_tops += 1

    def _is_piled(self) -> bool:
        """Whether sound was cut at the end of the scale, which float files may go beyond."""
        return (
            self._top <= 1.0 + self._step
            and self._num_full > PILE * self._num_beneath
            and len(self._kinds) > DISTINCT_SHARE * self._num_tops
        )
