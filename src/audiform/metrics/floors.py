"""What a score is to be compared with: the mixture itself below, an ideal mask above."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.stft import StftSpec, istft, stft


def ideal_ratio_mask(
    stems: Float[Tensor, "sources channels time"],
    spec: StftSpec,
    *,
    power: float = 1.0,
) -> Float[Tensor, "sources channels time"]:
    """Estimate ``stems`` from their sum with the best soft mask that knows them.

    The mask of a source is ``|S|^power`` over the sum of all sources' (the "IRM" of the
    Signal Separation Evaluation Campaigns, with a power of 1 or 2). No mask of real numbers
    in [0, 1] does much better, so it bounds what a masking separator can reach.
    """
    spectra = stft(stems, spec)
    weights = spectra.abs().pow(power)
    masks = weights / weights.sum(dim=0).clamp(min=torch.finfo(weights.dtype).tiny)
    return istft(masks * spectra.sum(dim=0), spec, num_samples=stems.shape[-1])
