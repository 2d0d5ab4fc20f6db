"""What a separation network is trained on: stems of songs, cut, remixed, changed.

Draw n is a function of the seed and n alone, so neither workers, processes nor resuming change
what a step sees (:class:`audiform.training.examples.Examples`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from torch import Tensor

from audiform.augment.chain import AugmentChain
from audiform.data.layouts import read_tracks
from audiform.data.narrow import band_ends, cut_above
from audiform.data.segments import SegmentDataset
from audiform.data.split import DEFAULT_SHARES, split_tracks
from audiform.data.track import Track
from audiform.dsp.level import MonoDeviation
from audiform.errors import DataError
from audiform.training.seed import mixed_seed

#: Songs that were rendered lie in this folder beside ``songs``.
RENDERED_FOLDER = "rendered"

#: A crop with a lower RMS than this share of its track's deviation counts as silent.
SILENT_SHARE = 0.02

#: RMS of a balanced stem before its drawn gain, in deviations of a track.
BALANCED_RMS = 0.5

#: Tracks are read in pieces of this length for their level.
PIECE_SECONDS = 30.0


class SeparationData(BaseModel):
    """Which songs, and how they are cut.

    - ``segment_seconds``: what the network sees; augmentations that shorten are given more.
      Crops begin every ``stride_seconds``.
    - ``group_size``: songs that are drawn together, among which an augmentation can remix.
    - ``normalise``: bring each track to a standard deviation of one, of its mono mixture, as
      the engine does before it separates.
    - ``unrelated_share``: how many groups have stems of unrelated songs from the start. These
      may also come from songs that lack a stem; such a song's ``catch_all`` is not used, for it
      may hold what is missing. With ``balance_db`` such stems are brought to equal loudness,
      times a random gain of that standard deviation.
    - ``trials``: how often another crop is drawn where a song, or an unrelated stem, is silent.
    - ``layout``, ``mapping``: as of :func:`audiform.data.layouts.read_tracks`.
    - ``rendered_share``: how many groups are of songs in ``rendered/`` beside ``songs/``, as
      ``audiform data render`` writes them. Nothing is validated on those.
    - ``held_out``: songs that are validated on and not trained on; without any, the split of
      :mod:`audiform.data.split` decides. ``validation_seconds`` cuts the middle out of each
      (None: all of it), ``validation_songs`` is how many at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_seconds: PositiveFloat = 10.0
    stride_seconds: PositiveFloat = 1.0
    group_size: PositiveInt = 4
    normalise: bool = True
    unrelated_share: float = Field(0.0, ge=0.0, le=1.0)
    catch_all: str | None = "other"
    trials: NonNegativeInt = 0
    balance_db: NonNegativeFloat | None = None
    layout: str | None = None
    mapping: dict[str, str] = {}
    rendered_share: float = Field(0.0, ge=0.0, lt=1.0)
    held_out: tuple[str, ...] = ()
    validation_seconds: PositiveFloat | None = None
    validation_songs: PositiveInt | None = None


class Songs(NamedTuple):
    """The tracks to train on, those to validate on, and rendered ones to train on as well."""

    train: list[Track]
    valid: list[Track]
    rendered: Sequence[Track] = ()


def find_tracks(folder: Path, data: SeparationData, sources: Sequence[str]) -> Songs:
    """Read a folder of songs and divide it; a song without any of ``sources`` is left out.

    Raises :class:`DataError` where nothing is left to train on.
    """
    root = folder / "songs" if (folder / "songs").is_dir() else folder
    tracks = [
        track
        for track in read_tracks(root, layout=data.layout, mapping=data.mapping or None)
        if set(track.stems) & set(sources)
    ]
    train, valid, _ = divided(tracks, data.held_out, root=root)
    if not train:
        raise DataError(
            f"{len(tracks)} songs have stems named {', '.join(sources)}, and none of them is left "
            "to train on; add songs, name their stems with data.mapping, or say which to validate "
            "on with data.held_out",
            path=root,
        )
    return Songs(train, valid, _rendered_tracks(folder, data))


def _rendered_tracks(folder: Path, data: SeparationData) -> list[Track]:
    if not data.rendered_share:
        return []
    rendered = folder / RENDERED_FOLDER
    if not rendered.is_dir() or not (folder / "songs").is_dir():
        raise DataError(
            f"data.rendered_share is {data.rendered_share:g}, which wants the folders songs and "
            f"{RENDERED_FOLDER} side by side; render some with audiform data render, or set it "
            "to 0",
            path=folder,
        )
    return read_tracks(rendered)


def divided(
    tracks: Sequence[Track],
    held_out: Sequence[str],
    *,
    root: Path,
    shares: Mapping[str, float] = DEFAULT_SHARES,
) -> Songs:
    """Divide tracks: those ``held_out`` validate, or by ``shares`` where none are named.

    Raises :class:`DataError` for a name that no track has.
    """
    names = [track.name for track in tracks]
    if unknown := [name for name in held_out if name not in names]:
        raise DataError(
            f"data.held_out names {unknown[0]!r}, and there is no such song; there are "
            f"{', '.join(names[:10]) or 'none'}{', ...' if len(names) > 10 else ''}",
            path=root,
        )
    if not held_out:
        parts = split_tracks(tracks, shares=shares)
        return Songs(parts["train"], parts["valid"])
    return Songs(
        [track for track in tracks if track.name not in held_out and track.split != "test"],
        [track for track in tracks if track.name in held_out],
    )


def data_fingerprint(tracks: Sequence[Track]) -> str:
    """Return a sha256 over the names of tracks and stems and the sizes of their files."""
    total = hashlib.sha256()
    for track in sorted(tracks, key=lambda track: track.name):
        for name, ref in track.files():
            total.update(f"{track.name}\0{name}\0{ref.path.stat().st_size}\0{ref}\n".encode())
    return total.hexdigest()


class Crop(NamedTuple):
    """Stems (source, channel, time), and where the first of them ends in Hz, mostly nowhere."""

    stems: Float32[np.ndarray, "source channel time"]
    ends_hz: float


class StemExamples:
    """Draws of ``group_size`` augmented items: ``stems`` (item, source, channel, time).

    A mixture is cut where the first of its stems ends that went through a narrow band
    (:mod:`audiform.data.narrow`), unless ``full_band`` says that there is no such stem.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        data: SeparationData,
        chain: AugmentChain,
        *,
        audio_channels: int,
        seed: int,
        cache_folder: Path | None = None,
        full_band: bool = False,
    ) -> None:
        self.data = data
        self.chain = chain
        self.seed = seed
        # stems change places within a group
        self.cuts_groups = any(step.kind == "remix" for step in chain.steps)
        sources, sample_rate = chain.sources, chain.sample_rate
        self.length = round(data.segment_seconds * sample_rate)

        def dataset(of: Sequence[Track], names: Sequence[str]) -> SegmentDataset:
            return SegmentDataset(
                of,
                names,
                sample_rate=sample_rate,
                audio_channels=audio_channels,
                segment_seconds=chain.input_samples(self.length) / sample_rate,
                stride_seconds=data.stride_seconds,
                cache_folder=cache_folder,
            )

        whole = [track for track in tracks if set(sources) <= set(track.stems)]
        self.aligned = dataset(whole, sources) if whole and data.unrelated_share < 1.0 else None
        self.apart = [
            dataset(_with_stem(tracks, source, sources, data.catch_all), (source,))
            for source in (sources if data.unrelated_share else ())
        ]
        if self.aligned is None and not self.apart:
            raise DataError(
                f"no song has all of {', '.join(sources)}; complete them, or train on stems of "
                "unrelated songs with data.unrelated_share=1"
            )
        self.levels = _track_levels(tracks, sources, dataset) if data.normalise else {}
        self.ends_hz = {} if full_band else _track_ends(tracks, sources, dataset)

    @property
    def draw_size(self) -> int:
        """Items that are remixed among each other."""
        return self.data.group_size

    @property
    def draws_per_epoch(self) -> int:
        """Draws until every crop was seen about once."""
        datasets = self.apart if self.aligned is None else [self.aligned]
        return max(1, max(map(len, datasets)) // self.draw_size)

    def __call__(self, draw: int) -> dict[str, Tensor]:
        """Return draw number ``draw``."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, 0, draw))
        items = self._read(draw, generator)
        lowest_hz = min(item.ends_hz for item in items)
        rate = self.chain.sample_rate
        cut = [
            cut_above(
                torch.from_numpy(item.stems),
                cutoff_hz=lowest_hz if self.cuts_groups else item.ends_hz,
                sample_rate=rate,
            )
            for item in items
        ]
        stems = self.chain.apply(torch.stack(cut), generator)
        return {"stems": stems[..., : self.length].contiguous()}

    def _read(self, draw: int, generator: torch.Generator) -> list[Crop]:
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        if self.aligned is None or rng.random() < self.data.unrelated_share:
            return [self._unrelated(rng) for _ in range(self.draw_size)]
        return [self._sounding_song(self.aligned, index, rng) for index in self._indices(draw)]

    def _indices(self, draw: int) -> list[int]:
        """Return the crops of a draw: each epoch goes through all, in an order of its own."""
        assert self.aligned is not None
        epoch, place = divmod(draw, self.draws_per_epoch)
        order = np.random.default_rng(mixed_seed(self.seed, 1, epoch)).permutation(
            len(self.aligned)
        )
        first = place * self.draw_size
        return [int(order[(first + item) % len(order)]) for item in range(self.draw_size)]

    def _sounding_song(self, dataset: SegmentDataset, index: int, rng: np.random.Generator) -> Crop:
        """Return a crop, or where it is silent another one."""
        crop = self._song(dataset, index)
        for _ in range(self.data.trials):
            if _rms(crop.stems.sum(axis=0)) >= SILENT_SHARE:
                break
            crop = self._song(dataset, int(rng.integers(len(dataset))))
        return crop

    def _song(self, dataset: SegmentDataset, index: int) -> Crop:
        """Return a crop at the level of its track."""
        stems = dataset.read(index)
        name = dataset.tracks[dataset.locate(index).track_index].name
        if self.levels:
            stems /= self.levels[name]
        ends = self.ends_hz.get(name, {})
        return Crop(stems, min(ends.get(source, float("inf")) for source in dataset.sources))

    def _unrelated(self, rng: np.random.Generator) -> Crop:
        crops = [self._sounding(dataset, rng) for dataset in self.apart]
        stems = np.concatenate([crop.stems for crop in crops])
        return Crop(stems, min(crop.ends_hz for crop in crops))

    def _sounding(self, dataset: SegmentDataset, rng: np.random.Generator) -> Crop:
        for _ in range(self.data.trials + 1):
            crop = self._song(dataset, int(rng.integers(len(dataset))))
            rms = _rms(crop.stems)
            if rms >= SILENT_SHARE:
                break
        gain_db = 0.0 if self.data.balance_db is None else self.data.balance_db * rng.normal()
        if self.data.balance_db is not None and rms >= SILENT_SHARE:
            crop.stems[...] *= np.float32(BALANCED_RMS / rms * 10.0 ** (gain_db / 20.0))
        return crop


class SharedExamples:
    """Draws of real songs, and at times of rendered ones instead."""

    def __init__(
        self, songs: StemExamples, rendered: StemExamples, *, rendered_share: float
    ) -> None:
        self.songs = songs
        self.rendered = rendered
        self.rendered_share = rendered_share

    @property
    def draw_size(self) -> int:
        """Items that are remixed among each other."""
        return self.songs.draw_size

    @property
    def draws_per_epoch(self) -> int:
        """Draws until every crop of the real songs was seen about once."""
        return max(1, round(self.songs.draws_per_epoch / (1.0 - self.rendered_share)))

    def __call__(self, draw: int) -> dict[str, Tensor]:
        """Return draw number ``draw``."""
        chance = np.random.default_rng(mixed_seed(self.songs.seed, 2, draw)).random()
        return (self.rendered if chance < self.rendered_share else self.songs)(draw)


def _rms(audio: Float32[np.ndarray, "*shape"]) -> float:
    return float(np.sqrt(np.mean(np.square(audio))))


def _with_stem(
    tracks: Sequence[Track], source: str, sources: Sequence[str], catch_all: str | None
) -> list[Track]:
    """Return the tracks whose stem ``source`` holds that source and nothing else."""
    found = [
        track
        for track in tracks
        if source in track.stems and (source != catch_all or set(sources) <= set(track.stems))
    ]
    if not found:
        raise DataError(f"no song has a stem {source!r} that can be used alone; add one")
    return found


def _track_levels(
    tracks: Sequence[Track],
    sources: Sequence[str],
    dataset: Callable[[Sequence[Track], Sequence[str]], SegmentDataset],
) -> dict[str, np.float32]:
    """Return the standard deviation of each track's mono mixture."""
    levels = {}
    for track in tracks:
        whole = dataset([track], [source for source in sources if source in track.stems])
        statistic, length = MonoDeviation(), whole.track_length_samples(0)
        piece = round(PIECE_SECONDS * whole.sample_rate)
        for start in range(0, length, piece):
            stems = whole.read_track(
                0, start_samples=start, length_samples=min(piece, length - start)
            )
            statistic = statistic.update(torch.from_numpy(stems.sum(axis=0)))
        levels[track.name] = np.float32(statistic.normalisation().scale)
    return levels


def _track_ends(
    tracks: Sequence[Track],
    sources: Sequence[str],
    dataset: Callable[[Sequence[Track], Sequence[str]], SegmentDataset],
) -> dict[str, dict[str, float]]:
    """Return where the stems of each track end."""
    return {
        track.name: band_ends(
            dataset([track], [source for source in sources if source in track.stems]), 0
        )
        for track in tracks
    }
