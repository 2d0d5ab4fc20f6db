"""Songs as spectra in memory: read once, cut anywhere at no cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from audiform.data.layouts import read_tracks
from audiform.data.segments import SegmentDataset
from audiform.data.track import MIXTURE, Track
from audiform.dsp.stft import stft
from audiform.errors import DataError
from experiments.settings import SAMPLE_RATE, SPECTRUM, Settings

VOCALS = "vocals"
AUDIO_CHANNELS = 2


@dataclass(frozen=True)
class Song:
    """Spectra of a song with its highest bin; ``peak`` is the mixture's largest magnitude.

    ``unheard`` frames out of its middle are scored and never trained on.
    """

    name: str
    instrumental: Complex[Tensor, "channel bin frame"]
    vocals: Complex[Tensor, "channel bin frame"]
    peak: float
    unheard: slice

    def __post_init__(self) -> None:
        if not self.vocals[..., self.unheard].any():
            raise DataError(
                f"the middle of {self.name!r} has no vocals, and is to be scored; leave it out"
            )

    @property
    def num_frames(self) -> int:
        """Length of the song."""
        return self.vocals.shape[-1]

    @property
    def magnitudes(self) -> Float[Tensor, "channel bin frame"]:
        """What a network sees of the song: the mixture in [0, 1], without the highest bin."""
        return to_magnitudes(self.instrumental + self.vocals, self.peak)


def to_magnitudes(
    spectrum: Complex[Tensor, "*leading bin frame"], peak: float
) -> Float[Tensor, "*leading low_bin frame"]:
    """Return magnitudes over ``peak``, at most one, without the highest bin."""
    return (spectrum[..., :-1, :].abs() / peak).clamp(max=1.0)


@dataclass(frozen=True)
class Songs:
    """Songs to train on but for their middles, by name, and the one that is held out."""

    train: list[Song]
    held_out: Song


def read_songs(folder: Path, settings: Settings, *, cache_folder: Path) -> Songs:
    """Read all songs of ``folder`` that have vocals.

    Raises :class:`DataError` where there is no such song to hold out, or fewer than two others:
    the next-segment task takes halves from another song.
    """
    tracks = [track for track in read_tracks(folder) if VOCALS in track.stems]
    names, held_out = [track.name for track in tracks], settings.held_out
    if held_out not in names or len(names) < 3:
        raise DataError(
            f"{held_out!r} is to be held out of three or more songs with vocals, found "
            f"{', '.join(names) or 'none'}; add songs, or hold out one of these",
            path=folder,
        )
    ordered = sorted(tracks, key=lambda track: track.name)
    return Songs(
        train=[
            _read(track, cache_folder, unheard_seconds=settings.known_seconds)
            for track in ordered
            if track.name != held_out
        ],
        held_out=_read(
            next(track for track in tracks if track.name == held_out),
            cache_folder,
            unheard_seconds=settings.held_out_seconds,
        ),
    )


def _read(track: Track, cache_folder: Path, *, unheard_seconds: float) -> Song:
    data = SegmentDataset(
        [track],
        (VOCALS, MIXTURE),
        sample_rate=SAMPLE_RATE,
        audio_channels=AUDIO_CHANNELS,
        segment_seconds=1.0,
        cache_folder=cache_folder,
    )
    length = data.track_length_samples(0)
    audio = torch.from_numpy(data.read_track(0, start_samples=0, length_samples=length))
    vocals, mixture = stft(audio, SPECTRUM)
    peak = mixture[:, :-1].abs().max().item()
    if peak == 0:
        raise DataError("is silent; leave the song out", path=track.references(VOCALS)[0].path)
    wanted = round(unheard_seconds * SAMPLE_RATE / SPECTRUM.hop_length)
    start = max(0, (vocals.shape[-1] - wanted) // 2)
    unheard = slice(start, min(vocals.shape[-1], start + wanted))
    return Song(track.name, mixture - vocals, vocals, peak, unheard)
