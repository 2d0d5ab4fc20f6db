"""What a room still sends back of a sound's past, by linear prediction.

T. Nakatani et al., "Speech dereverberation based on variance-normalized delayed linear
prediction" (2010): each bin of a spectrogram is predicted from its own frames some time before,
with the coefficients that leave least of it where little is direct sound. What can be predicted
is reverberation, phases and all, or a sound that goes on by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor

from audiform.dsp.stft import StftSpec, istft, stft

#: Power of the direct sound is smoothed over so many frames, and is at least so much of its mean.
SMOOTHED_FRAMES, LEAST_SHARE = 3, 1e-4

#: Power that counts as silence.
SILENCE = 1e-12


@dataclass(frozen=True)
class LinearPrediction:
    """How bins are predicted.

    From ``taps`` frames, the newest of them ``delay`` frames before; bins from ``num_bins`` on
    are left alone (None: none). ``rounds`` times the direct sound is estimated and its power
    used as a weight. ``ridge``, times the mean power of a bin, keeps coefficients small.
    """

    spec: StftSpec = field(default_factory=lambda: StftSpec(n_fft=2048, hop_length=512))
    delay: int = 2
    taps: int = 16
    num_bins: int | None = None
    rounds: int = 2
    ridge: float = 1e-3


def late_reverberation(
    audio: Float[Tensor, "batch time"], prediction: LinearPrediction
) -> Float[Tensor, "batch time"]:
    """Return the part of ``audio`` that its own past predicts, over its whole length."""
    spectrum = stft(audio, prediction.spec)
    heard = spectrum[:, : prediction.num_bins].flatten(0, 1)
    late = _predicted(heard, prediction).unflatten(0, (len(audio), -1))
    above = spectrum.shape[1] - late.shape[1]
    return istft(F.pad(late, (0, 0, 0, above)), prediction.spec, num_samples=audio.shape[1])


def _predicted(
    heard: Complex[Tensor, "row frame"], prediction: LinearPrediction
) -> Complex[Tensor, "row frame"]:
    taps, frames = prediction.taps, heard.shape[1]
    scale = (_power(heard).mean(dim=1, keepdim=True) + SILENCE).sqrt()
    heard = heard / scale
    past = F.pad(heard, (prediction.delay + taps - 1, 0)).unfold(1, taps, 1)[:, :frames]
    past = past.contiguous()
    late = torch.zeros_like(heard)
    for _ in range(prediction.rounds):
        direct = F.avg_pool1d(
            _power(heard - late)[:, None], SMOOTHED_FRAMES, 1, SMOOTHED_FRAMES // 2
        )[:, 0]
        floor = LEAST_SHARE * direct.mean(dim=1, keepdim=True) + SILENCE
        weighted = (past.conj() / (direct + floor)[..., None]).transpose(1, 2)
        gram = weighted @ past
        trace = gram.diagonal(dim1=1, dim2=2).real.mean(dim=1, keepdim=True)
        gram.diagonal(dim1=1, dim2=2).add_(prediction.ridge * trace + SILENCE)
        found = torch.linalg.solve(gram, weighted @ heard[..., None])
        late = (past @ found)[..., 0]
    return late * scale


def _power(spectrum: Complex[Tensor, "row frame"]) -> Float[Tensor, "row frame"]:
    return spectrum.real.square() + spectrum.imag.square()
