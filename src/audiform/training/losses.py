"""Losses between estimated and true stems; each gives a value for every item and source.

All are means over what they compare, so that terms of different kinds can be added.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from audiform.dsp.stft import StftSpec, stft

#: Added to energy ratios before the root: the derivative at a perfect estimate stays finite.
#: An error 40 dB below the mixture is as good as none.
RATIO_FLOOR = 1e-4

#: Bins quieter than this share of the mixture's mean bin count less than others.
QUIET_BIN = 1e-3

#: Least power of a bin whose logarithm is taken (audio is in [-1, 1]).
POWER_FLOOR = 1e-7

Stems = Float[Tensor, "batch source channel time"]
PerSource = Float[Tensor, "batch source"]


def absolute_error(*, estimate: Stems, reference: Stems) -> PerSource:
    """Return the mean absolute difference (L1), what the Demucs family is trained with."""
    return (estimate - reference).abs().mean(dim=(2, 3))


def squared_error(*, estimate: Stems, reference: Stems) -> PerSource:
    """Return the mean squared difference (L2)."""
    return (estimate - reference).square().mean(dim=(2, 3))


def magnitude_error(
    *,
    estimate: Complex[Tensor, "batch source channel bin frame"],
    reference: Complex[Tensor, "batch source channel bin frame"],
) -> Float[Tensor, "batch source"]:
    """Return the mean absolute difference of magnitudes."""
    return (estimate.abs() - reference.abs()).abs().mean(dim=(2, 3, 4))


def spectral_error(
    *, estimate: Stems, reference: Stems, sizes: tuple[tuple[int, int], ...]
) -> PerSource:
    """Return the multi-resolution STFT loss, the mean over ``sizes`` (n_fft, hop_length).

    Spectral convergence plus the mean absolute difference of log magnitudes, R. Yamamoto,
    E. Song, J.-M. Kim, "Parallel WaveGAN", arXiv:1910.11480, equations 5 and 6, for each item
    and source on its own. Differs from it in a floor under the norm of the reference, so that
    a silent one has a finite loss.
    """
    losses = []
    for n_fft, hop_length in sizes:
        spec = StftSpec(n_fft, hop_length)
        found, wanted = _magnitude(estimate, spec), _magnitude(reference, spec)
        difference = (found - wanted).square().sum(dim=(2, 3, 4))
        norm = wanted.square().sum(dim=(2, 3, 4))
        floor = POWER_FLOOR * wanted[0, 0].numel()
        convergence = ((difference + RATIO_FLOOR * floor) / (norm + floor)).sqrt()
        logarithms = (found.log() - wanted.log()).abs().mean(dim=(2, 3, 4))
        losses.append(convergence + logarithms)
    return torch.stack(losses).mean(dim=0)


def _magnitude(audio: Stems, spec: StftSpec) -> Float[Tensor, "batch source channel bin frame"]:
    spectrum = stft(audio, spec)
    return (spectrum.real.square() + spectrum.imag.square() + POWER_FLOOR).sqrt()


def relative_error(
    *,
    estimate: Complex[Tensor, "batch source channel bin frame"],
    reference: Complex[Tensor, "batch source channel bin frame"],
) -> Float[Tensor, "batch source"]:
    """Return the size of the error against the mixture's: 0 is perfect, 1 as bad as silence is.

    The mean of two views. Over everything: ``sqrt(|estimate - reference|^2 / |mixture|^2)``,
    which is what the SDR sees, bass above all. And the same for each bin of the spectrum,
    averaged over bins, so that every band has a say. The mixture is the sum of the references.

    The logarithm of the ratio (the SDR itself) looks natural and was tried first: it rewards
    silence in absent and quiet stems so much that a network learns to be silent and stays so.
    """
    error = estimate - reference
    errors = (error.real.square() + error.imag.square()).sum(dim=(2, 4))
    mixture = reference.sum(dim=1)
    energies = (mixture.real.square() + mixture.imag.square()).sum(dim=(1, 3))
    return relative_error_of_energies(errors, energies)


def relative_error_of_energies(
    errors: Float[Tensor, "batch source bin"],
    energies: Float[Tensor, "batch bin"],
    weights: Float[Tensor, " bin"] | None = None,
) -> PerSource:
    """Return :func:`relative_error` from energies of the error and of the mixture in each bin.

    ``weights`` are those of the bins in the second view; they add up to 1 (None: all alike).
    """
    total = energies.sum(dim=1)[:, None] + 1e-8
    whole = (errors.sum(dim=2) / total + RATIO_FLOOR).sqrt()
    floor = QUIET_BIN * total[..., None] / energies.shape[-1]
    ratios = (errors / (energies[:, None] + floor) + RATIO_FLOOR).sqrt()
    by_bin = ratios.mean(dim=2) if weights is None else ratios @ weights
    return (whole + by_bin) / 2
