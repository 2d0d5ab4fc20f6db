"""Complex spectra as real features: real and imaginary part are channels of their own."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Complex, Float
from torch import Tensor


def complex_to_channels(
    spectrum: Complex[Tensor, "batch channels frequency frames"],
) -> Float[Tensor, "batch twice_channels frequency frames"]:
    """Return real and imaginary part of each channel side by side."""
    return rearrange(
        torch.view_as_real(spectrum),
        "batch channel frequency frame part -> batch (channel part) frequency frame",
    )


def channels_to_complex(
    spectrum: Float[Tensor, "batch stems frequency frames"], num_sources: int
) -> Complex[Tensor, "batch sources channels frequency frames"]:
    """Return the spectra whose real and imaginary parts are the channels of ``spectrum``."""
    parts = rearrange(
        spectrum,
        "batch (source channel part) frequency frame -> batch source channel frequency frame part",
        source=num_sources,
        part=2,
    )
    return torch.view_as_complex(parts.contiguous())
