"""Masked groups of frames: a part of a spectrogram is painted over, to be found again.

As BERT masks words (arXiv:1810.04805, section 3.1), B. Carper's question on pretraining (spring
2022) masks groups of frames: a network that multiplies can only take away, so what hides a group
must nowhere be below it. Spectra are magnitudes in [0, 1] here: normalise first, mask after.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor

from audiform.errors import DataError

Spectra = Float[Tensor, "batch channel bin frame"]


class Treatment(IntEnum):
    """What becomes of a group of frames."""

    UNTOUCHED = 0
    WHITE = 1
    NOISE = 2
    KEPT = 3


class MaskingConfig(BaseModel):
    """Of groups of ``group_frames``, the share ``rate`` is chosen, at least one.

    Of the chosen ones ``white_share`` are painted white, ``noise_share`` get noise where it is
    louder, and the rest is kept as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    group_frames: PositiveInt = 16
    rate: float = Field(default=0.15, gt=0, le=1)
    white_share: float = Field(default=0.8, ge=0, le=1)
    noise_share: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _shares_fit(self) -> MaskingConfig:
        if self.white_share + self.noise_share > 1:
            raise ValueError(
                f"white_share = {self.white_share} and noise_share = {self.noise_share} are more "
                "than all groups; lower one"
            )
        return self


@dataclass(frozen=True)
class GroupMasking:
    """A draw: the :class:`Treatment` of each group, and noise in [0, 1) for those that get it."""

    treatments: Int[Tensor, "batch group"]
    noise: Float[Tensor, "noisy channel bin group_frames"]

    def chosen_frames(self, num_frames: int) -> Bool[Tensor, "batch frame"]:
        """Tell which frames are in chosen groups, the kept ones among them."""
        return self._by_frame(self.treatments != Treatment.UNTOUCHED, num_frames)

    def _by_frame(self, groups: Tensor, num_frames: int) -> Tensor:
        return groups.repeat_interleave(self.noise.shape[-1], dim=1)[:, :num_frames]


def draw_masking(
    config: MaskingConfig, spectra: Spectra, *, generator: torch.Generator
) -> GroupMasking:
    """Draw which groups of ``spectra`` are masked and how; the last group may be a part of one."""
    batch, channels, bins, num_frames = spectra.shape
    num_groups = -(-num_frames // config.group_frames)
    chosen = torch.rand(batch, num_groups, generator=generator) < config.rate
    at_least = torch.randint(num_groups, (batch,), generator=generator)
    lacking = ~chosen.any(dim=1)
    chosen[lacking, at_least[lacking]] = True
    kind = torch.rand(batch, num_groups, generator=generator)
    treatments = torch.full((batch, num_groups), int(Treatment.KEPT))
    treatments[kind < config.white_share + config.noise_share] = Treatment.NOISE
    treatments[kind < config.white_share] = Treatment.WHITE
    treatments[~chosen] = Treatment.UNTOUCHED
    noisy = int((treatments == Treatment.NOISE).sum())
    noise = torch.rand(noisy, channels, bins, config.group_frames, generator=generator)
    return GroupMasking(treatments, noise)


def mask_groups(spectra: Spectra, masking: GroupMasking) -> Spectra:
    """Return ``spectra`` with its groups masked: nowhere below ``spectra`` itself.

    Raises :class:`DataError` for magnitudes outside [0, 1], which white would not cover.
    """
    check_unit_range(spectra)
    num_frames, group_frames = spectra.shape[-1], masking.noise.shape[-1]
    masked = spectra.clone()
    white = masking._by_frame(masking.treatments == Treatment.WHITE, num_frames)
    masked = torch.where(white[:, None, None], 1.0, masked)
    for (item, group), noise in zip(
        (masking.treatments == Treatment.NOISE).nonzero().tolist(), masking.noise, strict=True
    ):
        place = masked[item, :, :, group * group_frames : (group + 1) * group_frames]
        torch.maximum(place, noise[..., : place.shape[-1]], out=place)
    return masked


def check_unit_range(spectra: Spectra) -> None:
    """Raise :class:`DataError` unless all magnitudes are in [0, 1]."""
    low, high = spectra.min().item(), spectra.max().item()
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"masking takes magnitudes in [0, 1], found {low:g} to {high:g}; divide each item by "
            "its largest magnitude first (normalise_items)"
        )


def normalise_items(spectra: Spectra) -> Spectra:
    """Divide each item by the norm of its loudest frame; silence stays silence.

    No magnitude is above one then. Unlike the largest magnitude, that norm does not depend on
    how the energy of a frame is spread over bins and channels.
    """
    loudest = frame_energy(spectra).amax(dim=-1)[:, None, None, None].sqrt()
    return (spectra / torch.where(loudest > 0, loudest, 1.0)).clamp(max=1.0)


def frame_energy(
    spectra: Float[Tensor, "*batch channel bin frame"],
) -> Float[Tensor, "*batch frame"]:
    """Return the sum of squares of each frame."""
    return spectra.square().sum(dim=(-3, -2))
