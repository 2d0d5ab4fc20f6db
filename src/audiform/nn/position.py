"""Sinusoidal positions in one and two dimensions, as HT Demucs adds them to its tokens.

Both follow "Attention is all you need" (arXiv:1706.03762) up to the order of sines and cosines
and the spacing of the frequencies, which differ between the two: published weights expect it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoids_1d(
    length: int, width: int, *, max_period: float, device: torch.device | str = "cpu"
) -> Float[Tensor, "length width"]:
    """Return positions of ``length`` tokens: all cosines, then all sines.

    The periods run geometrically from 2 pi to 2 pi ``max_period``, both included; ``width``
    must be even.
    """
    half = width // 2
    position = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    exponent = torch.arange(half, device=device, dtype=torch.float32) / (half - 1)
    phase = position / max_period**exponent
    return torch.cat([torch.cos(phase), torch.sin(phase)], dim=-1)


def sinusoids_2d(
    height: int, length: int, width: int, *, max_period: float, device: torch.device | str = "cpu"
) -> Float[Tensor, "height length width"]:
    """Return positions on a grid: half of the features for ``length``, half for ``height``.

    In each half sines and cosines alternate; ``width`` must be a multiple of four.
    """
    half = width // 2
    step = torch.arange(0.0, half, 2, device=device)
    rate = torch.exp(step * -(math.log(max_period) / half))

    def alternating(count: int) -> Float[Tensor, "count half"]:
        phase = torch.arange(0.0, count, device=device)[:, None] * rate
        return torch.stack([torch.sin(phase), torch.cos(phase)], dim=-1).flatten(1)

    along_length = alternating(length)[None].expand(height, -1, -1)
    along_height = alternating(height)[:, None].expand(-1, length, -1)
    return torch.cat([along_length, along_height], dim=-1)
