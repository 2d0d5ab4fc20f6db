"""Frames as one of a few hundred codes: categories to predict where a frame itself is too much.

k-means over compressed spectra, as targets of masked prediction after HuBERT (W.-N. Hsu et al.,
arXiv:2106.07447, section II).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiform.errors import DataError
from audiform.training.masking import Spectra

#: Magnitudes are raised to this power before they are compared, so that quiet bins count.
COMPRESSION = 0.3


def frame_vectors(spectra: Spectra) -> Float[Tensor, "batch frame bin"]:
    """Return what is compared of frames: the mean over channels, compressed."""
    return spectra.mean(dim=1).pow(COMPRESSION).transpose(1, 2)


def fit_codebook(
    vectors: Float[Tensor, "frame bin"],
    *,
    size: int,
    iterations: int,
    generator: torch.Generator,
) -> Float[Tensor, "size bin"]:
    """Return ``size`` centres of ``vectors``: Lloyd's algorithm from vectors drawn at random.

    A centre that nothing is near to is put on the vector that is furthest from its own.
    Raises :class:`DataError` for fewer vectors than centres.
    """
    if len(vectors) < size:
        raise DataError(
            f"{size} codes were asked for, found {len(vectors)} frames; give more frames or ask "
            "for fewer codes"
        )
    chosen = torch.randperm(len(vectors), generator=generator)[:size]
    centres = vectors[chosen].clone()
    for _ in range(iterations):
        distances = torch.cdist(vectors, centres)
        nearest, codes = distances.min(dim=1)
        counts = torch.bincount(codes, minlength=size)
        sums = torch.zeros_like(centres).index_add_(0, codes, vectors)
        centres = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        centres[empty] = vectors[nearest.topk(len(empty)).indices]
    return centres


def nearest_codes(
    vectors: Float[Tensor, "batch frame bin"], codebook: Float[Tensor, "size bin"]
) -> Int[Tensor, "batch frame"]:
    """Return the code of each vector."""
    return torch.cdist(vectors, codebook.expand(len(vectors), -1, -1)).argmin(dim=-1)
