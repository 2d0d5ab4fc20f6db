"""Separation scored over a folder of songs, next to what the scores mean.

For each stem: the SDR of the estimate; that of the mixture, taken as the estimate (what doing
nothing scores); and that of an ideal ratio mask (what a mask that knows the answer scores).
A stem that the song lacks has no SDR: its score is the level of what came out, against the
mixture, in dB.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from audiform.audio import Audio
from audiform.data.tracks import Song, find_songs
from audiform.dsp.stft import StftSpec
from audiform.inference.separator import Separator
from audiform.metrics.floors import ideal_ratio_mask
from audiform.metrics.separation import sdr, si_sdr

#: Transform of the ideal ratio mask.
IDEAL_MASK_STFT = StftSpec(n_fft=4096, hop_length=1024)

#: The ideal mask is computed by pieces of this length, so that memory stays bounded.
IDEAL_MASK_PIECE_SECONDS = 30.0


@dataclass(frozen=True)
class StemScores:
    """Scores of one stem in dB; either the first four or the last are there."""

    sdr_db: float | None = None
    si_sdr_db: float | None = None
    mixture_sdr_db: float | None = None
    ideal_mask_sdr_db: float | None = None
    absent_level_db: float | None = None


@dataclass(frozen=True)
class SongScores:
    """Scores of one song by stem, and how long taking it apart took."""

    name: str
    seconds: float
    stems: dict[str, StemScores]


@dataclass(frozen=True)
class Evaluation:
    """All songs' scores of one model."""

    model: str
    songs: tuple[SongScores, ...]

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps({**asdict(self), "median": self.medians()}, indent=2)

    def medians(self) -> dict[str, dict[str, float]]:
        """Return the median over songs, by stem and score."""
        result: dict[str, dict[str, float]] = {}
        for song in self.songs:
            for source in song.stems:
                result.setdefault(source, {})
        for source, found in result.items():
            for score in StemScores.__dataclass_fields__:
                values = [
                    value
                    for song in self.songs
                    if source in song.stems
                    and (value := getattr(song.stems[source], score)) is not None
                ]
                if values:
                    found[score] = round(median(values), 3)
        return result

    def table(self) -> str:
        """Return the scores as a text table."""
        header = f"{'song':<24}{'stem':<10}{'SDR':>8}{'SI-SDR':>8}{'mixture':>9}{'ideal':>8}"
        lines = [header]
        for song in self.songs:
            lines += [_row(song.name, source, song.stems[source]) for source in song.stems]
        for source, scores in self.medians().items():
            lines.append(_row("median", source, StemScores(**scores)))
        return "\n".join(lines)

    def summary(self) -> dict[str, Any]:
        """Return the medians in the form of a checkpoint's header."""
        return {"metric": "SDR in dB over whole songs, median", "stems": self.medians()}


def evaluate(
    model: str | Path | nn.Module,
    data: Path,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    only: tuple[str, ...] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score ``model`` (a name, a checkpoint or a network) on the songs in ``data``.

    ``only`` names the songs to score, all where it is empty; ``start_seconds`` and
    ``duration_seconds`` cut a piece out of each. ``on_progress`` is told songs done and songs
    in all. Raises :class:`DataError` where no song is found.
    """
    separator = Separator(model)
    songs = [song for song in find_songs(data, separator.sources) if not only or song.name in only]
    scores = []
    for done, song in enumerate(songs):
        scores.append(
            _score_song(
                separator, song, start_seconds=start_seconds, duration_seconds=duration_seconds
            )
        )
        if on_progress is not None:
            on_progress(done + 1, len(songs))
    return Evaluation(model=separator.name, songs=tuple(scores))


def _score_song(
    separator: Separator, song: Song, *, start_seconds: float, duration_seconds: float | None
) -> SongScores:
    rate = separator.sample_rate
    reference = torch.from_numpy(
        song.read_all(
            separator.sources,
            sample_rate=rate,
            start_seconds=start_seconds,
            duration_seconds=duration_seconds,
        )
    )
    mixture = reference.sum(dim=0)
    stems = separator.separate(Audio(mixture, rate))
    estimate = torch.stack([stems[source].samples for source in separator.sources])
    piece = round(IDEAL_MASK_PIECE_SECONDS * rate)
    ideal = torch.cat(
        [ideal_ratio_mask(part, IDEAL_MASK_STFT) for part in reference.split(piece, dim=-1)],
        dim=-1,
    )
    scores = {}
    for index, source in enumerate(separator.sources):
        truth = reference[index]
        if not bool(truth.any()):
            level = float(estimate[index].square().sum() / mixture.square().sum().clamp(min=1e-12))
            scores[source] = StemScores(absent_level_db=_rounded(10 * math.log10(level + 1e-12)))
            continue
        scores[source] = StemScores(
            sdr_db=_rounded(sdr(estimate=estimate[index], reference=truth).item()),
            si_sdr_db=_rounded(si_sdr(estimate=estimate[index], reference=truth).item()),
            mixture_sdr_db=_rounded(sdr(estimate=mixture, reference=truth).item()),
            ideal_mask_sdr_db=_rounded(sdr(estimate=ideal[index], reference=truth).item()),
        )
    return SongScores(name=song.name, seconds=mixture.shape[-1] / rate, stems=scores)


def _rounded(value: float) -> float:
    return round(value, 3)


def _row(name: str, source: str, scores: StemScores) -> str:
    if scores.sdr_db is None:
        level = "-" if scores.absent_level_db is None else f"{scores.absent_level_db:.1f}"
        return f"{name:<24}{source:<10}   absent; what came out is at {level} dB of the mixture"
    columns = (scores.sdr_db, scores.si_sdr_db, scores.mixture_sdr_db, scores.ideal_mask_sdr_db)
    numbers = ["-" if value is None else f"{value:.2f}" for value in columns]
    return f"{name:<24}{source:<10}" + "".join(
        f"{number:>{width}}" for number, width in zip(numbers, (8, 8, 9, 8), strict=True)
    )
