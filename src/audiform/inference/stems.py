"""``Stems``: the result of a separation, read when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from audiform.audio import Audio
from audiform.inference.scratch import ScratchFile


class Stems(Mapping[str, Audio]):
    """Stem name -> :class:`Audio`; each is read from a temporary file when it is asked for.

    The file goes away with the object, or with :meth:`close`.
    """

    def __init__(
        self, names: Sequence[str], scratch: ScratchFile, *, sample_rate: int, num_channels: int
    ) -> None:
        self._names = tuple(names)
        self._scratch = scratch
        self._num_channels = num_channels
        self.sample_rate = sample_rate

    def __getitem__(self, name: str) -> Audio:
        if name not in self._names:
            raise KeyError(name)
        first = self._names.index(name) * self._num_channels
        rows = self._scratch.read_rows(first, first + self._num_channels)
        return Audio(torch.from_numpy(rows), self.sample_rate)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def num_samples(self) -> int:
        """Length of each stem."""
        return self._scratch.num_samples

    def close(self) -> None:
        """Give the disk space back; the stems cannot be read any more."""
        self._scratch.close()

    def __repr__(self) -> str:
        seconds = self.num_samples / self.sample_rate
        return f"Stems({', '.join(self._names)}; {seconds:.1f} s at {self.sample_rate} Hz)"
