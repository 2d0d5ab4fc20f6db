"""Sinc resampling between two sample rates, differentiable.

A windowed sinc for each phase of the output, J. O. Smith, "Digital Audio Resampling",
https://ccrma.stanford.edu/~jos/resample/. Differs from it in the window (squared cosine) and
in scaling each phase to unit sum, so that a constant is kept exactly: with the default
numbers it is the resampling inside Demucs v2 (of the package julius), whose weights expect it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audiform.errors import AudioError


def resample(
    audio: Float[Tensor, "*leading time"],
    *,
    from_rate_hz: int,
    to_rate_hz: int,
    num_zero_crossings: int = 24,
    rolloff: float = 0.945,
) -> Float[Tensor, "*leading new_time"]:
    """Change the sample rate of ``audio``; only the ratio of the rates matters.

    The result has ``time * to_rate_hz // from_rate_hz`` samples. The ends are extended by
    their own values. Frequencies above ``rolloff`` times half the lower rate are cut; more
    zero crossings cut more steeply. Raises :class:`AudioError` for rates below 1 Hz.

    >>> resample(torch.ones(2, 441), from_rate_hz=1, to_rate_hz=2).shape
    torch.Size([2, 882])
    >>> resample(torch.ones(5), from_rate_hz=44100, to_rate_hz=22050).shape
    torch.Size([2])
    """
    if from_rate_hz < 1 or to_rate_hz < 1:
        raise AudioError(
            f"sample rates must be positive, got {from_rate_hz} Hz -> {to_rate_hz} Hz; "
            "check the header of the input"
        )
    shared = math.gcd(from_rate_hz, to_rate_hz)
    step, num_phases = from_rate_hz // shared, to_rate_hz // shared
    if step == num_phases:
        return audio
    filters = _phases(step, num_phases, num_zero_crossings, rolloff)
    reach = (filters.shape[-1] - step) // 2
    flat = audio.reshape(-1, 1, audio.shape[-1])
    extended = F.pad(flat, (reach, reach + step), mode="replicate")
    phases = F.conv1d(extended, filters.to(audio)[:, None], stride=step)
    new_length = audio.shape[-1] * num_phases // step
    interleaved = phases.transpose(1, 2).flatten(1)[:, :new_length]
    return interleaved.reshape(*audio.shape[:-1], new_length)


def _phases(
    step: int, num_phases: int, num_zero_crossings: int, rolloff: float
) -> Float[Tensor, "phases taps"]:
    """Return one filter for each of the ``num_phases`` outputs that ``step`` inputs give."""
    cutoff = min(step, num_phases) * rolloff
    reach = math.ceil(num_zero_crossings * step / cutoff)
    inputs = torch.arange(-reach, reach + step, dtype=torch.float64) / step
    outputs = torch.arange(num_phases, dtype=torch.float64) / num_phases
    crossings = (inputs - outputs[:, None]) * cutoff
    crossings = crossings.clamp(-num_zero_crossings, num_zero_crossings)
    window = torch.cos(math.pi / 2 * crossings / num_zero_crossings).square()
    filters = torch.sinc(crossings) * window
    return filters / filters.sum(dim=-1, keepdim=True)
