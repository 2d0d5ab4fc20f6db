"""Songs and voices for the removal of vocals: instrumentals that others sing over.

The training of the Frame Transformer: most items are instrumentals with random voices of other
songs laid over them, as complex spectra (:mod:`audiform.augment.random_vocals`), some are songs
as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from audiform.augment.layout import Share
from audiform.augment.random_vocals import (
    RandomVocalsConfig,
    SongSpectra,
    VocalSpectra,
    apply_random_vocals,
    draw_random_vocals,
    magnitudes,
)
from audiform.data.layouts import read_tracks
from audiform.data.segments import SegmentDataset
from audiform.data.track import MIXTURE, AudioRef, Track
from audiform.dsp.spectral_peak import SpectralPeak
from audiform.dsp.stft import stft
from audiform.errors import DataError
from audiform.nn.magnitude_masks import MagnitudeMaskConfig
from audiform.recipes.stems import divided
from audiform.training.seed import mixed_seed

#: The stem that is removed, and names of a stem that is all the rest.
VOCALS = "vocals"
WHOLE_INSTRUMENTALS = ("instrumental", "accompaniment")

#: Tracks are read in pieces of this length for their largest magnitude.
PIECE_SECONDS = 30.0

#: A voice whose RMS is lower is silent.
SILENT_RMS = 1e-3


class VocalsData(BaseModel):
    """Which songs and voices, and how they are cut.

    - ``segment_frames`` of the network's transform are an item; pieces begin every
      ``stride_seconds``.
    - ``pair_share``: how often a song that has vocals is taken with them; otherwise its
      instrumental is taken alone, like those that never had any.
    - ``trials``: how often another voice is drawn where one is silent.
    - ``layout``, ``mapping``: as of :func:`audiform.data.layouts.read_tracks`. The stem to
      remove is called vocals; a stem called instrumental or accompaniment is all the rest,
      else all other stems are. Songs without vocals, voices without a song, mixtures with
      their instrumental all serve.
    - ``held_out``, ``validation_seconds``, ``validation_songs``: as of
      :class:`audiform.recipes.stems.SeparationData`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_frames: PositiveInt = 256
    stride_seconds: PositiveFloat = 1.0
    pair_share: Share = 0.5
    trials: NonNegativeInt = 5
    layout: str | None = None
    mapping: dict[str, str] = {}
    held_out: tuple[str, ...] = ()
    validation_seconds: PositiveFloat | None = None
    validation_songs: PositiveInt | None = None


class VocalSongs(NamedTuple):
    """Tracks with two stems, of the names that the network gives them.

    ``voices`` are those of ``train`` and of voices by themselves.
    """

    train: list[Track]
    voices: list[Track]
    valid: list[Track]


def find_songs(folder: Path, data: VocalsData, sources: Sequence[str]) -> VocalSongs:
    """Read and divide songs; ``sources`` names what is left and what is removed.

    Raises :class:`DataError` where no instrumental or no voice is left to train on.
    """
    root = folder / "songs" if (folder / "songs").is_dir() else folder
    tracks = read_tracks(root, layout=data.layout, mapping=data.mapping or None)
    train, valid, _ = divided(tracks, data.held_out, root=root)
    found = [song for track in train if (song := _as_two(track, sources)) is not None]
    judged = [song for track in valid if (song := _as_two(track, sources)) is not None]
    kept, removed = sources
    songs = VocalSongs(
        [song for song in found if kept in song.stems],
        [song for song in found if removed in song.stems],
        [song for song in judged if kept in song.stems],
    )
    if not songs.train or not songs.voices:
        raise DataError(
            f"of {len(train)} tracks to train on, {len(songs.train)} have instruments and "
            f"{len(songs.voices)} have a stem {VOCALS!r}; both are needed: name stems with "
            "data.mapping, add songs, or hold fewer out",
            path=root,
        )
    return songs


def _as_two(track: Track, sources: Sequence[str]) -> Track | None:
    """Return a track of the two stems ``sources``, of which one may be missing."""
    whole = [name for name in WHOLE_INSTRUMENTALS if name in track.stems]
    rest = whole[:1] or [name for name in track.stems if name != VOCALS]
    parts = (rest, [VOCALS] if VOCALS in track.stems else [])
    stems: dict[str, tuple[AudioRef, ...]] = {
        source: tuple(ref for name in names for ref in track.stems[name])
        for source, names in zip(sources, parts, strict=True)
        if names
    }
    if not stems:
        return None
    return Track(track.name, stems, mixture=track.mixture, artist=track.artist, split=track.split)


class VocalExamples:
    """Draws of one item: ``mixture`` and ``instrumental``, magnitudes in [0, 1].

    The first of ``sources`` is what is left of songs, the second what others sing.
    """

    draw_size = 1

    def __init__(
        self,
        songs: VocalSongs,
        data: VocalsData,
        config: RandomVocalsConfig,
        *,
        network: MagnitudeMaskConfig,
        seed: int,
        cache_folder: Path | None = None,
    ) -> None:
        self.data = data
        self.config = config
        self.stft = network.stft
        self.seed = seed
        samples = (data.segment_frames - 1) * network.hop_length

        def dataset(tracks: Sequence[Track], stems: tuple[str, ...]) -> SegmentDataset:
            return SegmentDataset(
                tracks,
                stems,
                sample_rate=network.sample_rate,
                audio_channels=network.audio_channels,
                segment_seconds=samples / network.sample_rate,
                stride_seconds=data.stride_seconds,
                cache_folder=cache_folder,
            )

        kept, removed = network.sources
        self.songs = dataset(songs.train, (kept, MIXTURE))
        self.voices = dataset(songs.voices, (removed,))
        self.paired = [removed in song.stems or song.mixture is not None for song in songs.train]
        self.song_peaks, self.voice_peaks = self._peaks(self.songs), self._peaks(self.voices)

    @property
    def draws_per_epoch(self) -> int:
        """Draws until every piece of a song was seen once."""
        return len(self.songs)

    def __call__(self, draw: int) -> dict[str, Tensor]:
        """Return draw number ``draw``."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, 0, draw))
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        song, paired = self._song(draw, rng)
        drawn = draw_random_vocals(
            self.config, paired=torch.tensor([paired]), num_pieces=2, generator=generator
        )
        mixed = apply_random_vocals(song, self._two_voices(rng), drawn)
        return {
            name: magnitudes(spectra[..., :-1, :], mixed.peak)
            for name, spectra in (("mixture", mixed.mixture), ("instrumental", mixed.instrumental))
        }

    def _song(self, draw: int, rng: np.random.Generator) -> tuple[SongSpectra, bool]:
        """Return a piece of a song, and whether it comes with its own vocals."""
        epoch, place = divmod(draw, len(self.songs))
        order = np.random.default_rng(mixed_seed(self.seed, 1, epoch)).permutation(len(self.songs))
        index = int(order[place])
        track = self.songs.locate(index).track_index
        spectra = self._spectra(self.songs.read(index))
        paired = self.paired[track] and rng.random() < self.data.pair_share
        peak = torch.tensor([self.song_peaks[track]])
        instrumental, mixture = spectra[:1], spectra[1:] if paired else spectra[:1]
        return SongSpectra(mixture=mixture, instrumental=instrumental, peak=peak), paired

    def _two_voices(self, rng: np.random.Generator) -> VocalSpectra:
        pieces, peaks = [], []
        for _ in range(2):
            for _ in range(self.data.trials + 1):
                index = int(rng.integers(len(self.voices)))
                voice = self.voices.read(index)
                if np.sqrt(np.mean(np.square(voice))) >= SILENT_RMS:
                    break
            pieces.append(voice)
            peaks.append(self.voice_peaks[self.voices.locate(index).track_index])
        return VocalSpectra(self._spectra(np.concatenate(pieces)), torch.tensor(peaks))

    def _spectra(self, audio: np.ndarray) -> Complex[Tensor, "stem channel bin frame"]:
        return stft(torch.from_numpy(audio), self.stft)

    def _peaks(self, dataset: SegmentDataset) -> list[float]:
        """Return the largest magnitude of each track, over all stems that are read."""
        found = []
        piece = round(PIECE_SECONDS * dataset.sample_rate)
        for index in range(len(dataset.tracks)):
            length = dataset.track_length_samples(index)
            statistics = [SpectralPeak(self.stft) for _ in dataset.sources]
            for start in range(0, length, piece):
                stems = torch.from_numpy(
                    dataset.read_track(
                        index, start_samples=start, length_samples=min(piece, length - start)
                    )
                )
                statistics = [s.update(part) for s, part in zip(statistics, stems, strict=True)]
            found.append(max(s.normalisation().scale for s in statistics))
        return found
