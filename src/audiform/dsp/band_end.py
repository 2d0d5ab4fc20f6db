"""Where a recording ends that went through a narrow band: a wall in its spectrum."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: Such a wall is looked for between these.
LOWEST_HZ, HIGHEST_HZ = 3500.0, 15000.0

#: From a sixth below it to a sixth above the level falls by at least this. What a player, a
#: filter or a room takes away falls by a fraction of it.
FALL_DB = 35.0

#: Below it there must be something, this far at most below the loudest frequency: of what is
#: softer, a bass at 8 kHz, nothing is missed above.
HEARD_DB = -60.0

#: Size of the transform, and level below which everything is as good as silent.
N_FFT = 4096
FLOOR_DB = -110.0


def band_end_hz(audio: Float[Tensor, "*leading time"], *, sample_rate: int) -> float:
    """Return the frequency above which there is nothing, infinite where there is no such wall.

    >>> band_end_hz(torch.randn(44100), sample_rate=44100)
    inf
    """
    if audio.shape[-1] < N_FFT:
        return float("inf")
    frames = audio.reshape(-1, audio.shape[-1]).unfold(-1, N_FFT, N_FFT) * torch.hann_window(N_FFT)
    power = torch.fft.rfft(frames.float()).abs().square().mean(dim=(0, 1))
    if power.max() == 0:
        return float("inf")
    level_db = (10.0 * torch.log10(power / power.max() + 1e-30)).clamp(min=FLOOR_DB)
    bins = sample_rate / N_FFT
    falls = {0.0: 0.0}  # nowhere
    for hz in torch.arange(LOWEST_HZ, min(HIGHEST_HZ, 0.42 * sample_rate), 50.0).tolist():
        below = level_db[int(hz * 5 / 6 / bins) : int(hz / bins)].mean()
        above = level_db[int(hz * 1.03 / bins) : int(hz * 7 / 6 / bins)].mean()
        if below > HEARD_DB:
            falls[hz] = float(below - above)
    steepest = max(falls, key=lambda hz: falls[hz])
    return steepest if falls[steepest] > FALL_DB else float("inf")
