"""Correlations of long signals at short lags, taken block by block.

``r_ij(lag) = sum over n of x_i[n] y_j[n + lag]`` for lags from 0 on, with silence beyond both
ends: by the Fourier transform of blocks a few times as long as the longest lag, whose cross
spectra are summed. Memory does not grow with the signals.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Complex128, Float, Float64
from torch import Tensor

#: Blocks that are transformed at once: enough to share the work, few enough for the cache.
BLOCKS_AT_ONCE = 12


def fast_fft_size(at_least: int) -> int:
    """Return the smallest even number from ``at_least`` on whose only factors are 2, 3 and 5.

    >>> fast_fft_size(44611)
    45000
    """
    size = at_least + at_least % 2
    while not _is_smooth(size):
        size += 2
    return size


def _is_smooth(number: int) -> bool:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number == 1


def spectra_by_frequency(
    signals: Float64[Tensor, "*leading time"], n_fft: int
) -> Complex128[Tensor, " frequency *leading"]:
    """Return the Fourier transforms of all signals, by frequency, contiguous."""
    spectra = torch.fft.rfft(signals, n=n_fft)
    # as a matrix: torch turns that block by block, more dimensions an element at a time
    return spectra.flatten(0, -2).t().contiguous().unflatten(1, signals.shape[:-1])


class LagCorrelation:
    """Correlates ``num_leading`` signals x with ``num_following`` signals y at lags >= 0.

    Lags are 0 ... ``num_lags`` - 1 samples. The signals come in blocks of any length through
    :meth:`update`, both in step; sums are kept in float64.
    """

    def __init__(self, *, num_leading: int, num_following: int, num_lags: int) -> None:
        # One more than a power of two times the lags: spectra whose rows lie a power of two
        # apart get in each other's way in the cache.
        self._n_fft = fast_fft_size(8 * num_lags + 1)
        self._num_lags = num_lags
        self._step = self._n_fft - num_lags + 1
        self._num_leading = num_leading
        bins = self._n_fft // 2 + 1
        self._spectra = torch.zeros(bins, num_leading, num_following, dtype=torch.complex128)
        self._pending: Tensor = torch.zeros(num_leading + num_following, 0)

    def update(
        self, leading: Float[Tensor, "leading time"], following: Float[Tensor, "following time"]
    ) -> None:
        """Take in the next block of all signals."""
        self._pending = torch.cat([self._pending, torch.cat([leading, following])], dim=1)
        whole = 1 + (self._pending.shape[1] - self._n_fft) // self._step
        if whole > 0:
            self._take(whole)

    def lags(self) -> Float64[Tensor, "leading following lags"]:
        """Return the correlations, once all blocks are in; silence follows the last one."""
        remaining = -(-self._pending.shape[1] // self._step)
        missing = remaining * self._step + self._num_lags - 1 - self._pending.shape[1]
        self._pending = F.pad(self._pending, (0, missing))
        self._take(remaining)
        lags = torch.fft.irfft(self._spectra.permute(1, 2, 0), n=self._n_fft)
        return lags[..., : self._num_lags].contiguous()

    def _take(self, num_blocks: int) -> None:
        blocks = self._pending.unfold(-1, self._n_fft, self._step)
        for some in blocks[:, :num_blocks].split(BLOCKS_AT_ONCE, dim=1):
            leading, following = some.split((self._num_leading, some.shape[0] - self._num_leading))
            conjugate = spectra_by_frequency(leading[..., : self._step].double(), self._n_fft)
            blocks_first = following.transpose(0, 1).double()
            # only contiguous and resolved operands are multiplied as a batch, at once
            self._spectra += torch.bmm(
                conjugate.conj_physical_(), spectra_by_frequency(blocks_first, self._n_fft)
            )
        self._pending = self._pending[:, num_blocks * self._step :]
