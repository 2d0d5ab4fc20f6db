"""Reflection at the ends of a signal, for any length."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def pad_reflect(
    audio: Float[Tensor, "*leading time"], left: int, right: int
) -> Float[Tensor, "*leading padded"]:
    """Extend ``audio`` by its own mirror image, ``left`` and ``right`` samples.

    A signal that is too short to be mirrored is first extended with zeros, at the right end
    as far as the padding reaches there, then at the left (Demucs does the same).
    """
    missing = max(left, right) - audio.shape[-1] + 1
    if missing > 0:
        zeros_right = min(right, missing)
        zeros_left = missing - zeros_right
        audio = F.pad(audio, (zeros_left, zeros_right))
        left, right = left - zeros_left, right - zeros_right
    flat = audio.reshape(-1, 1, audio.shape[-1])
    padded = F.pad(flat, (left, right), mode="reflect")
    return padded.reshape(*audio.shape[:-1], padded.shape[-1])
