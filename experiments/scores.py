"""How well a network masks what it never heard, in crops with context or without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.dsp.stft import istft
from audiform.metrics.separation import sdr
from audiform.nn.magnitude_masks import MagnitudeMaskModel
from audiform.training.validation import Validation
from experiments.settings import SPECTRUM, Settings
from experiments.songs import Song, Songs, to_magnitudes

#: Crops that a network sees at once.
CROPS_AT_A_TIME = 16


def masks_in_crops(
    network: MagnitudeMaskModel,
    magnitudes: Float[Tensor, "channel bin frame"],
    *,
    start: int,
    stop: int,
    kept_frames: int,
    context_frames: int,
) -> Float[Tensor, "channel bin kept"]:
    """Return the masks of frames ``start`` to ``stop``, ``kept_frames`` from each run.

    A run sees ``context_frames`` more on either side; beyond the ends of ``magnitudes`` that is
    silence. The last crop sticks out of the piece as far as it must.
    """
    count = -(-(stop - start) // kept_frames)
    seen = kept_frames + 2 * context_frames
    last = start + count * kept_frames + context_frames
    padded = F.pad(magnitudes, (context_frames, max(0, last - magnitudes.shape[-1])))
    piece = padded[..., start : start + (count - 1) * kept_frames + seen]
    crops = piece.unfold(-1, seen, kept_frames).permute(2, 0, 1, 3)
    masks = torch.cat([network.core(part)[0][:, 0] for part in crops.split(CROPS_AT_A_TIME)])
    kept = masks[..., context_frames : context_frames + kept_frames]
    return kept.permute(1, 2, 0, 3).flatten(2)[..., : stop - start]


@dataclass(frozen=True)
class Unheard:
    """Scores a network on what it was not trained on: middles of songs, of one all is unheard.

    "loss" is the absolute error of the masked magnitudes against the instrumental's, over that
    of the mixture itself: 1 is as bad as no mask. "sdr_vocals" is that of what the mask takes
    away, in dB, with the mixture's phase. Both are over the pieces of all known songs together;
    "foreign" stands before those of the song held out.
    """

    songs: Songs
    settings: Settings

    def __call__(self, network: nn.Module) -> Validation:
        """Return the scores of ``network`` in plain crops as long as those of training."""
        return Validation(self.in_crops(network, kept_frames=self.settings.crop_frames))

    def in_crops(
        self, network: nn.Module, *, kept_frames: int, context_frames: int = 0
    ) -> dict[str, float]:
        """Return the scores of ``network`` in crops of another kind."""
        known, foreign = self.masked(network, kept_frames, context_frames)
        return named_scores(known, foreign)

    @torch.no_grad()
    def masked(
        self, network: nn.Module, kept_frames: int, context_frames: int
    ) -> tuple[list[Masked], Masked]:
        """Return the masks of known songs, and those of the one held out."""
        assert isinstance(network, MagnitudeMaskModel)

        def of(song: Song) -> Masked:
            masks = masks_in_crops(
                network,
                song.magnitudes,
                start=song.unheard.start,
                stop=song.unheard.stop,
                kept_frames=kept_frames,
                context_frames=context_frames,
            )
            return Masked(song, masks)

        return [of(song) for song in self.songs.train], of(self.songs.held_out)

    def floors(self) -> dict[str, dict[str, float]]:
        """Return the scores of masks that know nothing: one for all bins, or one number for each.

        Both are the best in hindsight; no mask has the loss 1 by definition.
        """

        def scores(mask_of: Callable[[Song], Tensor]) -> dict[str, float]:
            known = [Masked(song, mask_of(song)) for song in self.songs.train]
            return named_scores(known, Masked(self.songs.held_out, mask_of(self.songs.held_out)))

        return {"no mask": scores(no_mask), "best number per bin": scores(best_by_bin)}


@dataclass(frozen=True)
class Masked:
    """Masks for the unheard piece of a song."""

    song: Song
    masks: Float[Tensor, "channel bin frame"]

    @property
    def errors(self) -> tuple[Float[Tensor, " frame"], Float[Tensor, " frame"]]:
        """Absolute errors of each frame with the masks, and without."""
        mixture, target = unheard_magnitudes(self.song)
        masked = (self.masks * mixture - target).abs().sum(dim=(0, 1))
        return masked, (mixture - target).abs().sum(dim=(0, 1))

    @property
    def vocals(self) -> tuple[Float[Tensor, "channel time"], Float[Tensor, "channel time"]]:
        """What the masks take away, and the true vocals, at the level of the magnitudes."""
        vocals = self.song.vocals[..., self.song.unheard]
        mixture = self.song.instrumental[..., self.song.unheard] + vocals
        whole = torch.cat([self.masks, self.masks[..., -1:, :]], dim=-2)
        samples = (vocals.shape[-1] - 1) * SPECTRUM.hop_length
        estimate, reference = (
            istft(spectrum / self.song.peak, SPECTRUM, num_samples=samples)
            for spectrum in ((1 - whole) * mixture, vocals)
        )
        return estimate, reference


def named_scores(known: Sequence[Masked], foreign: Masked) -> dict[str, float]:
    """Return the scores of known songs and of the other one."""
    return {
        "loss": loss_of(known),
        "sdr_vocals": sdr_of(known),
        "foreign_loss": loss_of([foreign]),
        "foreign_sdr_vocals": sdr_of([foreign]),
    }


def loss_of(pieces: Sequence[Masked]) -> float:
    """Return the sum of errors with masks over that of errors without."""
    errors = [piece.errors for piece in pieces]
    masked = torch.cat([of_frames for of_frames, _ in errors])
    plain = torch.cat([of_frames for _, of_frames in errors])
    return (masked.sum() / plain.sum()).item()


def sdr_of(pieces: Sequence[Masked]) -> float:
    """Return the SDR of the vocals of all pieces, one after the other."""
    estimates, references = zip(*(piece.vocals for piece in pieces), strict=True)
    return sdr(
        estimate=torch.cat(estimates, dim=-1), reference=torch.cat(references, dim=-1)
    ).item()


def unheard_magnitudes(song: Song) -> tuple[Tensor, Tensor]:
    """Return the mixture's and the instrumental's magnitudes of the unheard piece."""
    target = to_magnitudes(song.instrumental[..., song.unheard], song.peak)
    return song.magnitudes[..., song.unheard], target


def no_mask(song: Song) -> Float[Tensor, "channel bin frame"]:
    """Return masks that leave everything."""
    return torch.ones_like(unheard_magnitudes(song)[0])


def best_by_bin(song: Song) -> Float[Tensor, "channel bin frame"]:
    """Return masks of the least error among those that are the same in all frames.

    Over frames the error |m x - y| is least at the median of y / x, weighted by x.
    """
    mixture, target = unheard_magnitudes(song)
    ratios = target / mixture.clamp(min=1e-12)
    order = ratios.argsort(dim=-1)
    weights = mixture.gather(-1, order).cumsum(dim=-1)
    middle = (weights < weights[..., -1:] / 2).sum(dim=-1, keepdim=True)
    best = ratios.gather(-1, order).gather(-1, middle.clamp(max=ratios.shape[-1] - 1))
    return best.clamp(max=1.0).expand_as(mixture)
