"""What a frame network is pretrained on: pieces of whole songs, and of others to tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from audiform.augment.layout import Share, draw_chance
from audiform.data.music import read_music
from audiform.data.segments import SegmentDataset
from audiform.data.track import MIXTURE, Track
from audiform.dsp.stft import stft
from audiform.errors import DataError
from audiform.nn.magnitude_masks import MagnitudeMaskConfig
from audiform.recipes.stems import Songs, divided
from audiform.training.codebook import fit_codebook, frame_vectors
from audiform.training.frame_pretraining import FramePretrainingConfig, draw_pretraining_batch
from audiform.training.seed import mixed_seed

#: A piece whose samples have a lower RMS is silent.
SILENT_RMS = 1e-4


class MusicData(BaseModel):
    """Which music, and how it is cut.

    - ``segment_frames``: two halves, of which the second may be exchanged.
    - ``shortest_seconds``: shorter tracks are left out.
    - ``trials``: how often another piece is drawn where one is silent.
    - ``swap_share``: how often left and right change places.
    - ``held_out``: tracks that are validated on and not trained on, by the names of their files
      or song folders; without any, a tenth by :mod:`audiform.data.split`.
      ``validation_pieces`` is how many pieces of them are judged, always the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_frames: int = Field(1024, ge=2, multiple_of=2)
    shortest_seconds: PositiveFloat = 10.0
    trials: NonNegativeInt = 5
    swap_share: Share = 0.5
    held_out: tuple[str, ...] = ()
    validation_pieces: PositiveInt = 64


class CodebookConfig(BaseModel):
    """``size`` codes, found by k-means over the frames of ``pieces`` drawn at random."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: PositiveInt = 256
    pieces: PositiveInt = 64
    iterations: PositiveInt = 20


def find_music(folder: Path, data: MusicData) -> Songs:
    """Read a folder of music and divide it; raises :class:`DataError` for what cannot serve."""
    shares = {"train": 0.9, "valid": 0.1}
    return divided(read_music(folder), data.held_out, root=folder, shares=shares)


class Music:
    """Tracks to draw pieces from, evenly over their time."""

    def __init__(
        self,
        tracks: Sequence[Track],
        data: MusicData,
        *,
        network: MagnitudeMaskConfig,
        cache_folder: Path | None = None,
    ) -> None:
        self.data = data
        self.network = network
        self.songs = SegmentDataset(
            tracks,
            (MIXTURE,),
            sample_rate=network.sample_rate,
            audio_channels=network.audio_channels,
            segment_seconds=data.segment_frames * network.hop_length / network.sample_rate,
            cache_folder=cache_folder,
        )
        self.lengths = np.array(
            [self.songs.track_length_samples(index) for index in range(len(tracks))], dtype=float
        )
        self.lengths[self.lengths < data.shortest_seconds * network.sample_rate] = 0
        if not self.num_tracks:
            raise DataError(
                f"none of {len(tracks)} tracks is {data.shortest_seconds:g} s long; lower "
                "data.shortest_seconds, or give longer ones"
            )

    @property
    def num_tracks(self) -> int:
        """Tracks that are long enough."""
        return int(np.count_nonzero(self.lengths))

    @property
    def num_pieces(self) -> int:
        """Pieces that make up all tracks."""
        return max(1, round(self.lengths.sum() / self.songs.segment_samples))

    def draw(
        self, rng: np.random.Generator, *, num_frames: int, other_than: int | None = None
    ) -> tuple[int, Float[Tensor, "1 channel bin frame"]]:
        """Return the number of a track and the magnitudes of a piece of it."""
        num_samples = (num_frames - 1) * self.network.hop_length
        weights = self.lengths.copy()
        if other_than is not None:
            weights[other_than] = 0
        for _ in range(self.data.trials + 1):
            index = int(rng.choice(len(weights), p=weights / weights.sum()))
            latest = max(0, self.songs.track_length_samples(index) - num_samples)
            start = int(rng.integers(latest + 1))
            audio = self.songs.read_track(index, start_samples=start, length_samples=num_samples)
            if np.sqrt(np.mean(np.square(audio))) >= SILENT_RMS:
                break
        return index, stft(torch.from_numpy(audio), self.network.stft)[..., :-1, :].abs()


class PretrainingExamples:
    """Draws of one piece with both tasks, from the draw's number and the seed alone.

    Foreign second halves come from the other tracks of ``music``, or from ``foreign``.
    ``draws_per_epoch`` is by default as many as ``music`` has pieces.
    """

    draw_size = 1

    def __init__(
        self,
        music: Music,
        tasks: FramePretrainingConfig,
        *,
        seed: int,
        foreign: Music | None = None,
        draws_per_epoch: int | None = None,
    ) -> None:
        if music.num_tracks < 2 and foreign is None:
            raise DataError(
                "second halves come from other tracks, and only one is long enough; give more "
                "music, or lower data.shortest_seconds"
            )
        self.music = music
        self.foreign = foreign
        self.tasks = tasks
        self.seed = seed
        self.draws_per_epoch = draws_per_epoch or music.num_pieces

    def __call__(self, draw: int) -> dict[str, Tensor]:
        """Return draw number ``draw``: the fields of a ``PretrainingBatch``."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, 2, draw))
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        frames = self.music.data.segment_frames
        track, own = self.music.draw(rng, num_frames=frames)
        if self.foreign is None:
            _, other = self.music.draw(rng, num_frames=frames // 2, other_than=track)
        else:
            _, other = self.foreign.draw(rng, num_frames=frames // 2)
        swapped = draw_chance(self.music.data.swap_share, (2,), generator).tolist()
        own, other = (
            piece.flip(1) if swap else piece
            for piece, swap in zip((own, other), swapped, strict=True)
        )
        batch = draw_pretraining_batch(own, other, self.tasks, generator=generator)
        return {field.name: getattr(batch, field.name) for field in fields(batch)}


def codebook_of(
    examples: PretrainingExamples, config: CodebookConfig, *, seed: int
) -> Float[Tensor, "size bin"]:
    """Return the codes of the frames of pieces, at the level that pieces have in training."""
    vectors = [
        frame_vectors(examples(draw)["targets"]).flatten(0, 1) for draw in range(config.pieces)
    ]
    return fit_codebook(
        torch.cat(vectors),
        size=config.size,
        iterations=config.iterations,
        generator=torch.Generator().manual_seed(mixed_seed(seed, 3)),
    )
