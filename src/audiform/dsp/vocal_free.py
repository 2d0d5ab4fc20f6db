"""Where nobody sings: stretches in which a mask of the instruments takes nothing away."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor


class VocalFreeConfig(BaseModel):
    """When a stretch counts as free of vocals.

    The smallest mask of a frame, over bins and channels, is above ``threshold`` for at least
    ``min_frames``. Stretches less than ``max_gap_frames`` apart are merged. The mask is raised
    to one over ``fade_frames`` at either end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(0.05, gt=0, lt=1)
    min_frames: PositiveInt = 65
    max_gap_frames: PositiveInt = 32
    fade_frames: PositiveInt = 32

    @model_validator(mode="after")
    def _fades_fit(self) -> VocalFreeConfig:
        if self.min_frames < 2 * self.fade_frames:
            raise ValueError(
                f"min_frames = {self.min_frames} leaves no room for two fades of fade_frames = "
                f"{self.fade_frames}; raise one or lower the other"
            )
        return self

    @property
    def context_frames(self) -> int:
        """Frames to see beyond a frame so that it is treated as in the whole song.

        A fade may end there, of a stretch behind a gap behind another stretch.
        """
        return self.fade_frames + self.max_gap_frames + self.min_frames - 2


def open_vocal_free(
    mask: Float[Tensor, "*leading channel bin frame"], config: VocalFreeConfig
) -> Float[Tensor, "*leading channel bin frame"]:
    """Raise ``mask``, in [0, 1], to one in stretches free of vocals.

    A stretch that touches the first or last frame is not faded there: it goes on beyond.
    """
    lowest = mask.amin(dim=(-3, -2))
    free = (lowest > config.threshold).reshape(-1, lowest.shape[-1])
    shares = torch.stack([_shares(row, config) for row in free.cpu()]).to(mask)
    return mask + (1 - mask) * shares.reshape(*lowest.shape[:-1], 1, 1, lowest.shape[-1])


def vocal_free_stretches(free: Bool[Tensor, " frame"], config: VocalFreeConfig) -> list[range]:
    """Return the stretches of frames in which ``free`` holds, as ``config`` wants them."""
    edges = torch.diff(free.int(), prepend=free.new_zeros(1).int(), append=free.new_zeros(1).int())
    starts, stops = (edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist()
    merged: list[range] = []
    for start, stop in zip(starts, stops, strict=True):
        if stop - start < config.min_frames:
            continue
        if merged and start - merged[-1].stop < config.max_gap_frames:
            merged[-1] = range(merged[-1].start, stop)
        else:
            merged.append(range(start, stop))
    return merged


def _shares(free: Bool[Tensor, " frame"], config: VocalFreeConfig) -> Float[Tensor, " frame"]:
    """Return how far the mask is opened in each frame, in [0, 1]."""
    shares = torch.zeros(len(free))
    ramp = torch.arange(1, config.fade_frames + 1) / (config.fade_frames + 1)
    for stretch in vocal_free_stretches(free, config):
        shares[stretch.start : stretch.stop] = 1.0
        if stretch.start > 0:
            shares[stretch.start : stretch.start + config.fade_frames] = ramp
        if stretch.stop < len(free):
            shares[stretch.stop - config.fade_frames : stretch.stop] = ramp.flip(0)
    return shares
