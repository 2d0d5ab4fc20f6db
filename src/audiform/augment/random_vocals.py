"""Random voices over instrumentals, as complex spectra: how the Frame Transformer is trained.

Figures of the published training code (carperbr/vocal-remover-frame-transformer, April 2022).
Sums are complex, so phases are true; the network sees magnitudes, see :func:`magnitudes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Int
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from audiform.augment.layout import Share, draw_chance
from audiform.errors import ConfigError


class RandomVocalsConfig(BaseModel):
    """Probabilities, for each item of a batch.

    ``vocals_share``: an instrumental gets a voice. ``pair_share``: a mixture that has a voice
    already, or an instrumental that got none, gets one at a random level. ``second_share``: the
    voice is two, weighted at random. ``swap_share`` and ``silent_channel_share``: of each voice.
    ``swap_both_share``: left and right of the whole item. ``identity_share``: nothing to remove.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocals_share: Share = 0.98
    pair_share: Share = 0.33
    second_share: Share = 0.5
    swap_share: Share = 0.5
    silent_channel_share: Share = 0.025
    swap_both_share: Share = 0.5
    identity_share: Share = 0.025


@dataclass(frozen=True)
class RandomVocals:
    """What was drawn. The dimension "voice" is the first and the second voice of an item.

    ``level`` holds the factor of each voice (both 0: no voice is added); ``silent_channel`` is
    -1 where both channels sound.
    """

    piece: Int[Tensor, "batch voice"]
    level: Float[Tensor, "batch voice"]
    swapped: Bool[Tensor, "batch voice"]
    silent_channel: Int[Tensor, "batch voice"]
    swap_both: Bool[Tensor, " batch"]
    identity: Bool[Tensor, " batch"]


@dataclass(frozen=True)
class SongSpectra:
    """A batch of mixtures and what is to be left of them; ``peak`` is what they are divided by.

    An item without a mixture of its own has the instrumental in its place.
    """

    mixture: Complex[Tensor, "batch 2 bin frame"]
    instrumental: Complex[Tensor, "batch 2 bin frame"]
    peak: Float[Tensor, " batch"]


@dataclass(frozen=True)
class VocalSpectra:
    """Pieces of voices, with the largest magnitude of the song that each is from."""

    spectra: Complex[Tensor, "piece 2 bin frame"]
    peak: Float[Tensor, " piece"]


def draw_random_vocals(
    config: RandomVocalsConfig,
    *,
    paired: Bool[Tensor, " batch"],
    num_pieces: int,
    generator: torch.Generator,
) -> RandomVocals:
    """Draw for a batch; ``paired`` items have a mixture of their own.

    Raises :class:`ConfigError` where there is no voice to draw.
    """
    if num_pieces < 1:
        raise ConfigError("random vocals were asked for, none were given; add vocal stems")
    size = (len(paired),)
    voices = (*size, 2)
    sung = draw_chance(config.vocals_share, size, generator) & ~paired
    over_pair = draw_chance(config.pair_share, size, generator)
    # Beta(1, 1) is the even distribution.
    pair_level = torch.rand(size, generator=generator)
    overall = torch.where(sung, 1.0, torch.where(over_pair, pair_level, 0.0))
    weight = torch.rand(size, generator=generator)
    weight = torch.where(draw_chance(config.second_share, size, generator), weight, 1.0)
    channel = torch.randint(2, voices, generator=generator)
    silent = draw_chance(config.silent_channel_share, voices, generator)
    return RandomVocals(
        piece=torch.randint(num_pieces, voices, generator=generator),
        level=torch.stack([weight, 1.0 - weight], dim=1) * overall[:, None],
        swapped=draw_chance(config.swap_share, voices, generator),
        silent_channel=torch.where(silent, channel, -1),
        swap_both=draw_chance(config.swap_both_share, size, generator),
        identity=draw_chance(config.identity_share, size, generator),
    )


def apply_random_vocals(
    songs: SongSpectra, vocals: VocalSpectra, drawn: RandomVocals
) -> SongSpectra:
    """Add the voices to the mixtures; the instrumentals stay, but for their channels.

    The new peak is the larger of the song's and the voices' (weighted as they are), not that of
    the sum: :func:`magnitudes` clips what is beyond.
    """
    voices = vocals.spectra[drawn.piece]
    voices = torch.where(drawn.swapped[..., None, None, None], voices.flip(2), voices)
    sounding = drawn.silent_channel[..., None] != torch.arange(2)
    factor = sounding * drawn.level[..., None]
    added = (voices * factor[..., None, None].to(voices.dtype)).sum(dim=1)
    peak = (vocals.peak[drawn.piece] * drawn.level).sum(dim=1)
    mixture = torch.where(
        drawn.identity[:, None, None, None], songs.instrumental, songs.mixture + added
    )
    both = drawn.swap_both[:, None, None, None]
    return SongSpectra(
        mixture=torch.where(both, mixture.flip(1), mixture),
        instrumental=torch.where(both, songs.instrumental.flip(1), songs.instrumental),
        peak=torch.where(drawn.identity, songs.peak, torch.maximum(songs.peak, peak)),
    )


def magnitudes(
    spectra: Complex[Tensor, "batch 2 bin frame"], peak: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 2 bin frame"]:
    """Return magnitudes over the item's peak, clipped to [0, 1]: the input of the network."""
    return (spectra.abs() / peak.clamp(min=1e-8)[:, None, None, None]).clamp(max=1.0)
