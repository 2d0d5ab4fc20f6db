"""Crops of songs to train on: with their answer, or for pretraining without one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audiform.errors import DataError
from audiform.training.examples import Batch
from audiform.training.frame_pretraining import FramePretrainingConfig, draw_pretraining_batch
from audiform.training.seed import mixed_seed
from experiments.settings import Settings
from experiments.songs import Song, to_magnitudes


class Crops:
    """Draws of a batch: ``mixture`` and ``instrumental``, magnitudes over the song's peak."""

    def __init__(self, songs: Sequence[Song], settings: Settings, *, seed: int) -> None:
        self.songs = songs
        self.settings = settings
        self.seed = seed

    @property
    def draw_size(self) -> int:
        """Items in a draw."""
        return self.settings.batch_size

    @property
    def draws_per_epoch(self) -> int:
        """Draws between two validations."""
        return self.settings.validate_every

    def __call__(self, draw: int) -> Batch:
        """Return draw number ``draw``."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, draw))
        items = [self._item(generator) for _ in range(self.draw_size)]
        mixtures, instrumentals = zip(*items, strict=True)
        return {"mixture": torch.stack(mixtures), "instrumental": torch.stack(instrumentals)}

    def _item(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        song, place = draw_place(self.songs, self.settings.crop_frames, generator)
        other, elsewhere = draw_place(self.songs, self.settings.crop_frames, generator)
        remixed = torch.rand((), generator=generator) < self.settings.remix_share
        vocals = other.vocals[..., elsewhere] if remixed else song.vocals[..., place]
        instrumental = song.instrumental[..., place]
        return (
            to_magnitudes(instrumental + vocals, song.peak),
            to_magnitudes(instrumental, song.peak),
        )


class PretrainingCrops(Crops):
    """Draws for masked groups and next segments, from mixtures alone.

    The items have the fields of :class:`audiform.training.frame_pretraining.PretrainingBatch`.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        settings: Settings,
        config: FramePretrainingConfig,
        *,
        seed: int,
    ) -> None:
        super().__init__(songs, settings, seed=seed)
        self.config = config

    def __call__(self, draw: int) -> Batch:
        """Return draw number ``draw``."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, draw))
        own, others = [], []
        for _ in range(self.draw_size):
            song, place = draw_place(self.songs, self.settings.crop_frames, generator)
            rest = [candidate for candidate in self.songs if candidate is not song]
            other, elsewhere = draw_place(rest, self.settings.crop_frames, generator)
            own.append(mixture_crop(song, place))
            others.append(mixture_crop(other, elsewhere))
        batch = draw_pretraining_batch(
            torch.stack(own), torch.stack(others), self.config, generator=generator
        )
        return dict(vars(batch))


def draw_place(
    songs: Sequence[Song], num_frames: int, generator: torch.Generator
) -> tuple[Song, slice]:
    """Draw a song and ``num_frames`` of it, before or after what is unheard.

    Raises :class:`DataError` for a song that is too short for that.
    """
    song = songs[int(torch.randint(len(songs), (), generator=generator))]
    before = max(0, song.unheard.start - num_frames + 1)
    after = max(0, song.num_frames - song.unheard.stop - num_frames + 1)
    if before + after == 0:
        raise DataError(
            f"{song.name!r} has no {num_frames} frames beside the piece that is scored; leave the "
            "song out"
        )
    start = int(torch.randint(before + after, (), generator=generator))
    if start >= before:
        start += song.unheard.stop - before
    return song, slice(start, start + num_frames)


def mixture_crop(song: Song, place: slice) -> Tensor:
    """Return magnitudes of a piece of the mixture."""
    return to_magnitudes(song.instrumental[..., place] + song.vocals[..., place], song.peak)
