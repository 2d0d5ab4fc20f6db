"""Does the second half go on from the first? Half of the items get one from elsewhere.

The second task of B. Carper's question on pretraining (spring 2022), after BERT's next sentence
(arXiv:1810.04805, section 3.1). A separator lies over the seam, so that its fit is not to be
seen. What comes from elsewhere takes on the energy of what it replaces, frame for frame:
levels, and how they rise and fall, would give the answer away otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from torch import Tensor

from audiform.errors import ConfigError
from audiform.training.masking import Spectra, frame_energy, normalise_items

#: A foreign frame is amplified by at most this (40 dB): silence cannot be made loud.
MAX_GAIN = 100.0


class NextSegmentConfig(BaseModel):
    """``replace_rate`` of the items get a second half from elsewhere.

    The separator overwrites ``separator_frames`` around the seam, half on either side;
    ``blank_frames`` more on either side are silenced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replace_rate: float = Field(default=0.5, ge=0, le=1)
    separator_frames: int = Field(default=16, ge=2, multiple_of=2)
    blank_frames: NonNegativeInt = 0


@dataclass(frozen=True)
class SpliceDraw:
    """Which items are replaced, and where in the other spectrogram their second half starts."""

    replaced: Bool[Tensor, " batch"]
    starts: Int[Tensor, " batch"]


def draw_splice(
    config: NextSegmentConfig,
    *,
    batch_size: int,
    half_frames: int,
    other_frames: int,
    generator: torch.Generator,
) -> SpliceDraw:
    """Draw for ``batch_size`` items of 2 ``half_frames``, others of ``other_frames`` at hand."""
    if other_frames < half_frames:
        raise ConfigError(
            f"a second half of {half_frames} frames was asked for from spectrograms of "
            f"{other_frames}; give longer ones"
        )
    replaced = torch.rand(batch_size, generator=generator) < config.replace_rate
    starts = torch.randint(other_frames - half_frames + 1, (batch_size,), generator=generator)
    return SpliceDraw(replaced, starts)


def splice(
    spectra: Spectra,
    others: Float[Tensor, "batch channel bin other_frames"],
    draw: SpliceDraw,
) -> Spectra:
    """Return ``spectra`` with second halves out of ``others`` where drawn; in [0, 1].

    The number of frames is even. ``others`` holds a spectrogram of another song for each item.
    All items are then brought to one level (:func:`audiform.training.masking.normalise_items`).
    """
    half = spectra.shape[-1] // 2
    if spectra.shape[-1] != 2 * half:
        raise ConfigError(f"{spectra.shape[-1]} frames have no two halves; take an even number")
    spliced = spectra.clone()
    for item in draw.replaced.nonzero()[:, 0].tolist():
        start = int(draw.starts[item])
        spliced[item, :, :, half:] = match_level(
            others[item, :, :, start : start + half],
            like=spectra[item, :, :, half:],
        )
    return normalise_items(spliced)


def match_level(
    spectrum: Float[Tensor, "channel bin frame"], *, like: Float[Tensor, "channel bin frame"]
) -> Float[Tensor, "channel bin frame"]:
    """Return ``spectrum`` with the energy of each frame of ``like``."""
    gains = (frame_energy(like) / frame_energy(spectrum).clamp(min=1e-20)).sqrt()
    return spectrum * gains.clamp(max=MAX_GAIN)


def put_separator(spectra: Spectra, config: NextSegmentConfig) -> Spectra:
    """Return ``spectra`` with the separator over the seam: bins are one and zero by turns."""
    middle, width = spectra.shape[-1] // 2, config.separator_frames // 2
    marked = spectra.clone()
    marked[..., hidden_frames(spectra.shape[-1], config)] = 0
    marked[:, :, ::2, middle - width : middle + width] = 1
    return marked


def hidden_frames(num_frames: int, config: NextSegmentConfig) -> slice:
    """Return the frames around the seam of which nothing is to be seen."""
    reach = config.separator_frames // 2 + config.blank_frames
    return slice(max(0, num_frames // 2 - reach), num_frames // 2 + reach)
