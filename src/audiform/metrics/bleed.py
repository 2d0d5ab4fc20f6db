"""Bleed and fullness: how much an estimate has too much, and too little, in a log-mel spectrogram.

The definition is that of jarredou (2024, proposed to the auraloss project), which the
community's training programs and leaderboards use: amplitude spectrograms (``n_fft`` 4096, hop
1024, Hann, zeros beyond both ends) in 512 mel bands of equal area (Slaney's scale), in dB,
floored 80 dB below the signal's own loudest cell and at 1e-5. Where the estimate is louder
than the reference, the mean excess in dB gives ``bleedless = 100 / (1 + excess)``; where it is
softer, the mean lack gives ``fullness = 100 / (1 + lack)``. 100 is best.

The means are over the cells that differ in that direction only, so an estimate with one bad
cell scores as one that is bad everywhere: read both figures next to an SDR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

N_FFT = 4096
HOP_LENGTH = 1024
NUM_BANDS = 512
MIN_AMPLITUDE = 1e-5
DYNAMIC_RANGE_DB = 80.0

#: Slaney's mel scale: linear up to 1 kHz (15 mel), then 27 steps per factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3
_LOG_STEP = math.log(6.4) / 27
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL


@dataclass(frozen=True)
class MelBands:
    """Triangles on the mel scale: each bin is on the way down of one and up of the next."""

    rising_band: Int[Tensor, " bins"]
    rising: Float[Tensor, " bins"]
    falling_band: Int[Tensor, " bins"]
    falling: Float[Tensor, " bins"]
    num_bands: int

    @classmethod
    def spread(
        cls, *, sample_rate: int, n_fft: int = N_FFT, num_bands: int = NUM_BANDS
    ) -> MelBands:
        """Return bands of equal area from 0 Hz to half the sample rate."""
        top = _mel(torch.tensor([sample_rate / 2], dtype=torch.float64))
        corners = _hz(torch.linspace(0, 1, num_bands + 2, dtype=torch.float64) * top)
        bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sample_rate / n_fft
        # corner[k] <= bin < corner[k + 1]: rising in band k, falling in band k - 1
        below = (torch.searchsorted(corners, bins, right=True) - 1).clamp(max=num_bands)
        share = (bins - corners[below]) / (corners[below + 1] - corners[below])
        area = 2 / (corners[2:] - corners[:-2])

        def weights(band: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
            inside = (band >= 0) & (band < num_bands)
            band = band.clamp(0, num_bands - 1)
            return band, (height * area[band] * inside).float()

        rising_band, rising = weights(below, share)
        falling_band, falling = weights(below - 1, 1 - share)
        return cls(rising_band, rising, falling_band, falling, num_bands)

    def __call__(self, amplitude: Float[Tensor, "bins cells"]) -> Float[Tensor, "bands cells"]:
        """Sum up the bins of each band."""
        bands = amplitude.new_zeros(self.num_bands, amplitude.shape[1])
        bands.index_add_(0, self.rising_band, amplitude * self.rising[:, None])
        return bands.index_add_(0, self.falling_band, amplitude * self.falling[:, None])


class MelLevels:
    """Levels in dB of rows of audio in mel bands, block by block.

    The frames of all blocks, joined, are those of the whole signal.
    """

    def __init__(self, *, num_rows: int, bands: MelBands) -> None:
        self._bands = bands
        self._pending = torch.zeros(num_rows, N_FFT // 2)
        self._window = torch.hann_window(N_FFT)

    def update(
        self, rows: Float[Tensor, "rows time"], *, last: bool = False
    ) -> Float[Tensor, "bands rows frames"]:
        """Take in a block; return the levels of the frames that are complete by now."""
        after = N_FFT // 2 if last else 0
        self._pending = torch.cat([self._pending, F.pad(rows, (0, after))], dim=1)
        frames = max(0, 1 + (self._pending.shape[1] - N_FFT) // HOP_LENGTH)
        if frames == 0:
            return rows.new_zeros(self._bands.num_bands, len(rows), 0)
        windows = self._pending.unfold(-1, N_FFT, HOP_LENGTH) * self._window
        amplitude = torch.fft.rfft(windows).abs().permute(2, 0, 1)
        self._pending = self._pending[:, frames * HOP_LENGTH :]
        levels = self._bands(amplitude.flatten(1)).clamp(min=MIN_AMPLITUDE).log10().mul(20)
        return levels.unflatten(1, (len(rows), frames))


@dataclass
class BleedSums:
    """Sums of excess and lack in dB, and the numbers of cells that have any, by source."""

    excess_db: Tensor
    louder_cells: Tensor
    lack_db: Tensor
    softer_cells: Tensor

    @classmethod
    def none(cls, num_sources: int) -> BleedSums:
        """Return sums of no cell yet."""
        return cls(*(torch.zeros(num_sources, dtype=torch.float64) for _ in range(4)))

    def add(
        self,
        *,
        estimate_db: Float[Tensor, "bands sources cells"],
        reference_db: Float[Tensor, "bands sources cells"],
    ) -> None:
        """Take in levels, floored by :func:`floored` already."""
        difference = estimate_db - reference_db
        excess, lack = difference.clamp(min=0), (-difference).clamp(min=0)
        self.excess_db += excess.double().sum(dim=(0, 2))
        self.louder_cells += (excess > 0).sum(dim=(0, 2))
        self.lack_db += lack.double().sum(dim=(0, 2))
        self.softer_cells += (lack > 0).sum(dim=(0, 2))

    def bleedless(self) -> Tensor:
        """Return 100 / (1 + mean excess in dB), by source."""
        return 100 / (1 + self.excess_db / self.louder_cells.clamp(min=1))

    def fullness(self) -> Tensor:
        """Return 100 / (1 + mean lack in dB), by source."""
        return 100 / (1 + self.lack_db / self.softer_cells.clamp(min=1))


def floored(
    levels_db: Float[Tensor, "bands sources cells"], loudest_db: Float[Tensor, " sources"]
) -> Float[Tensor, "bands sources cells"]:
    """Raise levels to 80 dB below the loudest cell of their whole signal."""
    return levels_db.maximum((loudest_db - DYNAMIC_RANGE_DB)[None, :, None])


def _mel(frequency_hz: Tensor) -> Tensor:
    above = (frequency_hz.clamp(min=_BREAK_HZ) / _BREAK_HZ).log() / _LOG_STEP
    return torch.where(
        frequency_hz < _BREAK_HZ, frequency_hz / _LINEAR_HZ_PER_MEL, _BREAK_MEL + above
    )


def _hz(mel: Tensor) -> Tensor:
    above = _BREAK_HZ * (_LOG_STEP * (mel - _BREAK_MEL).clamp(min=0)).exp()
    return torch.where(mel < _BREAK_MEL, _LINEAR_HZ_PER_MEL * mel, above)
