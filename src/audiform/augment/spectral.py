"""Augmentation of stems as spectra: what a mixing desk, a codec and a careless cable do.

Parameters are drawn by one function and applied by another, so that a draw can be logged and
repeated. Randomness comes from the generator that is handed in, and from nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from torch import Tensor

#: Centres of the equaliser's knots, between which gains are interpolated over octaves.
EQUALISER_KNOTS_HZ = (40.0, 120.0, 350.0, 1000.0, 3000.0, 8000.0, 18000.0)


class AugmentConfig(BaseModel):
    """How often, and how much. Shares are probabilities per stem or per mixture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    swap_share: NonNegativeFloat = 0.5
    invert_share: NonNegativeFloat = 0.5
    equalise_share: NonNegativeFloat = 0.4
    equalise_db: NonNegativeFloat = 5.0
    narrow_share: NonNegativeFloat = 0.1
    low_pass_share: NonNegativeFloat = 0.15
    low_pass_hz: tuple[float, float] = (7000.0, 17000.0)


@dataclass(frozen=True)
class Augmentation:
    """Drawn parameters for a batch of stems.

    ``swap`` exchanges left and right, ``sign`` turns the polarity, ``gain_db`` are the
    equaliser's knots, ``narrow`` makes a stem mono; ``cutoff_hz`` limits all stems of a mixture.
    """

    swap: Bool[Tensor, "batch source"]
    sign: Float[Tensor, "batch source"]
    gain_db: Float[Tensor, "batch source knot"]
    narrow: Bool[Tensor, "batch source"]
    cutoff_hz: Float[Tensor, " batch"]


def draw_augmentation(
    generator: torch.Generator,
    config: AugmentConfig,
    *,
    batch_size: int,
    num_sources: int,
    band_hz: Float[Tensor, " batch"] | None = None,
) -> Augmentation:
    """Draw parameters; a mixture is cut at its ``band_hz`` at the latest.

    That is where one of its stems ends: what others have above it would teach that this one
    never has any.
    """
    shape = (batch_size, num_sources)

    def chance(share: float, size: tuple[int, ...]) -> Tensor:
        return torch.rand(size, generator=generator) < share

    knots = torch.rand((*shape, len(EQUALISER_KNOTS_HZ)), generator=generator) * 2 - 1
    equalised = chance(config.equalise_share, shape)
    low, high = config.low_pass_hz
    cutoff = low + (high - low) * torch.rand(batch_size, generator=generator)
    cutoff = torch.where(
        chance(config.low_pass_share, (batch_size,)), cutoff, torch.tensor(float("inf"))
    )
    if band_hz is not None:
        cutoff = torch.minimum(cutoff, band_hz)
    return Augmentation(
        swap=chance(config.swap_share, shape),
        sign=1.0 - 2.0 * chance(config.invert_share, shape).float(),
        gain_db=knots * config.equalise_db * equalised[..., None],
        narrow=chance(config.narrow_share, shape),
        cutoff_hz=cutoff,
    )


def augment_waveforms(
    stems: Float[Tensor, "batch source 2 time"], augmentation: Augmentation
) -> Float[Tensor, "batch source 2 time"]:
    """Apply what does not depend on frequency: channels, width, polarity."""
    narrow = augmentation.narrow.float()
    keep, cross = 1.0 - narrow / 2, narrow / 2
    keep, cross = (
        torch.where(augmentation.swap, cross, keep) * augmentation.sign,
        torch.where(augmentation.swap, keep, cross) * augmentation.sign,
    )
    matrix = torch.stack([keep, cross, cross, keep], dim=-1).unflatten(-1, (2, 2))
    return matrix @ stems


def augment_spectra(
    stems: Complex[Tensor, "batch source 2 bin frame"],
    augmentation: Augmentation,
    *,
    sample_rate: int,
) -> Complex[Tensor, "batch source 2 bin frame"]:
    """Apply what does: the equaliser of each stem, the cutoff of each mixture."""
    bins = torch.linspace(0.0, sample_rate / 2, stems.shape[-2])
    gains = 10.0 ** (_interpolate(augmentation.gain_db, bins) / 20.0)
    passed = (bins <= augmentation.cutoff_hz[:, None]).to(gains.dtype)
    return stems * (gains * passed[:, None])[:, :, None, :, None]


def _interpolate(
    knots: Float[Tensor, "*leading knot"], frequencies_hz: Float[Tensor, " bin"]
) -> Float[Tensor, "*leading bin"]:
    """Interpolate the knots linearly over octaves; flat outside of them."""
    places = torch.tensor(EQUALISER_KNOTS_HZ).log2()
    wanted = frequencies_hz.clamp(min=1.0).log2().clamp(places[0], places[-1])
    right = torch.searchsorted(places, wanted).clamp(1, len(places) - 1)
    share = (wanted - places[right - 1]) / (places[right] - places[right - 1])
    return knots[..., right - 1] * (1 - share) + knots[..., right] * share
