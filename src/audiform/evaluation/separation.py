"""Separation scored: a model on a dataset, or estimates against references in two folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from audiform.checkpoints import resolve
from audiform.checkpoints.checksum import sha256_of
from audiform.data.layouts import read_tracks
from audiform.data.segments import SegmentDataset
from audiform.data.track import Track
from audiform.errors import ConfigError, DataError
from audiform.evaluation.measures import MEASURES, SongShape
from audiform.evaluation.pairs import Pair, find_pairs
from audiform.evaluation.scores import Evaluation, Provenance, SongScores
from audiform.evaluation.scores_file import ScoresFile
from audiform.evaluation.song_audio import (
    BLOCK_SECONDS,
    ReadEstimates,
    References,
    SongAudio,
    read_scratch,
)
from audiform.inference.scratch import ScratchFile
from audiform.inference.separator import Separator

#: Told songs done and songs in all.
OnProgress = Callable[[int, int], None]

#: Given a song that was scored, before its audio is closed.
OnSong = Callable[[SongAudio, SongScores], None]


def evaluate(
    model: str | Path | nn.Module,
    data: Path,
    *,
    metrics: Sequence[str] = tuple(MEASURES),
    only: Sequence[str] = (),
    split: str | None = None,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    settings: Mapping[str, Any] | None = None,
    repo: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    on_song: OnSong | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Score ``model`` on the songs of a dataset in any layout that ``audiform.data`` reads.

    ``model`` is a name, a checkpoint or a network; ``settings`` are options of
    :class:`Separator` (shifts, overlap, device ...) and put down with the scores, ``repo`` is a
    folder to look names up in. ``metrics`` are keys of :data:`MEASURES`. ``only`` names the songs
    to score, ``split`` a part of the dataset; ``start_seconds`` and ``duration_seconds`` cut a
    piece out of each song. Scores go to ``out`` as they come, and ``resume`` goes on with it.

    Raises :class:`DataError` where no song is found, :class:`ConfigError` for unknown metrics
    and for an ``out`` that exists or does not fit.
    """
    _check_metrics(metrics)
    separator = Separator(model, repo=repo, **(settings or {}))
    tracks = _chosen(read_tracks(data), separator.sources, only=only, split=split, folder=data)
    provenance = Provenance(
        subject=separator.name,
        data=data.resolve().name,
        metrics=tuple(metrics),
        sources=separator.sources,
        checkpoints=_checksums(model, repo),
        settings=dict(settings or {}),
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
    )

    def songs(todo: Callable[[str], bool]) -> Iterator[SongAudio]:
        for track in tracks:
            if todo(track.name):
                references = References(
                    track,
                    separator.sources,
                    sample_rate=separator.sample_rate,
                    audio_channels=separator.spec.audio_channels,
                    start_seconds=start_seconds,
                    duration_seconds=duration_seconds,
                )
                with closing(_separate(separator, references)) as scratch:
                    read = read_scratch(scratch, num_sources=len(separator.sources))
                    yield SongAudio(references, read)

    return _score_all(
        provenance,
        [track.name for track in tracks],
        songs,
        out=out,
        resume=resume,
        on_song=on_song,
        on_progress=on_progress,
    )


def evaluate_estimates(
    estimates: Path,
    references: Path,
    *,
    metrics: Sequence[str] = tuple(MEASURES),
    stems: Sequence[str] = (),
    only: Sequence[str] = (),
    fit_length: bool = False,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    out: Path | None = None,
    resume: bool = False,
    on_song: OnSong | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Score audio that any program has separated; see :func:`find_pairs` for the folders.

    The other arguments are those of :func:`evaluate`.
    """
    _check_metrics(metrics)
    pairs = [
        pair
        for pair in find_pairs(estimates, references, stems=stems, fit_length=fit_length)
        if not only or pair.references.name in only
    ]
    _check_found(pairs, only, [pair.references.name for pair in pairs], references)
    provenance = Provenance(
        subject=f"estimates in {estimates.resolve().name}",
        data=references.resolve().name,
        metrics=tuple(metrics),
        sources=tuple(stems),
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
    )

    def songs(todo: Callable[[str], bool]) -> Iterator[SongAudio]:
        for pair in pairs:
            if todo(pair.references.name):
                truth = References(
                    pair.references,
                    pair.sources,
                    sample_rate=pair.sample_rate,
                    audio_channels=pair.audio_channels,
                    start_seconds=start_seconds,
                    duration_seconds=duration_seconds,
                )
                first = round(start_seconds * pair.sample_rate)
                yield SongAudio(truth, _read_pair(pair, first))

    return _score_all(
        provenance,
        [pair.references.name for pair in pairs],
        songs,
        out=out,
        resume=resume,
        on_song=on_song,
        on_progress=on_progress,
    )


def score_song(audio: SongAudio, metrics: Sequence[str] = tuple(MEASURES)) -> SongScores:
    """Score one song, in memory that does not grow with its length.

    Raises :class:`DataError` for a song without samples.
    """
    references = audio.references
    if references.num_samples == 0:
        raise DataError(
            f"song {references.name!r} has no samples to score; does --start lie beyond its end?"
        )
    shape = SongShape(
        num_sources=len(references.sources),
        audio_channels=references.num_channels,
        sample_rate=references.sample_rate,
        num_samples=references.num_samples,
    )
    measures = [MEASURES[name](shape) for name in metrics]
    for block in audio.blocks():
        for measure in measures:
            measure.first(block)
    for block in audio.blocks():
        for measure in measures:
            measure.second(block)
    return SongScores.collect(
        references.name,
        references.num_samples / references.sample_rate,
        references.sources,
        [measure.figures() for measure in measures],
    )


def _score_all(
    provenance: Provenance,
    names: Sequence[str],
    songs: Callable[[Callable[[str], bool]], Iterator[SongAudio]],
    *,
    out: Path | None,
    resume: bool,
    on_song: OnSong | None,
    on_progress: OnProgress | None,
) -> Evaluation:
    """Score the songs that ``songs`` yields when asked for those that are not done yet."""
    file = None if out is None else ScoresFile(out, provenance, resume=resume)
    scores = {song.name: song for song in (file.done if file else []) if song.name in names}
    before = dict(scores)

    def tell() -> None:
        if on_progress is not None:
            on_progress(len(scores), len(names))

    tell()
    for audio in songs(lambda name: name not in before):
        song = score_song(audio, provenance.metrics)
        scores[song.name] = song
        if file is not None:
            file.add(song)
        if on_song is not None:
            on_song(audio, song)
        tell()
    return Evaluation(provenance, tuple(scores[name] for name in names))


def _separate(separator: Separator, references: References) -> ScratchFile:
    """Take a song's mixture apart into a temporary file."""
    scratch = ScratchFile(len(separator.sources) * references.num_channels)
    try:
        for block in separator.blocks(references, separator.scan(references)):
            scratch.append(block.stems.reshape(scratch.num_rows, -1))
    except BaseException:
        scratch.close()
        raise
    return scratch


def _read_pair(pair: Pair, first: int) -> ReadEstimates:
    data = SegmentDataset(
        [pair.estimates],
        pair.sources,
        sample_rate=pair.sample_rate,
        audio_channels=pair.audio_channels,
        segment_seconds=BLOCK_SECONDS,
    )
    length = data.track_length_samples(0)

    def read(start: int, count: int) -> np.ndarray:
        start += first
        there = max(0, min(count, length - start))
        audio = np.zeros((len(pair.sources), pair.audio_channels, count), np.float32)
        if there:
            audio[:, :, :there] = data.read_track(0, start_samples=start, length_samples=there)
        return audio

    return read


def _chosen(
    tracks: Sequence[Track],
    sources: Sequence[str],
    *,
    only: Sequence[str],
    split: str | None,
    folder: Path,
) -> list[Track]:
    known = [track for track in tracks if track.is_sum and set(track.sources) & set(sources)]
    chosen = [
        track
        for track in known
        if (not only or track.name in only) and split in (None, track.split)
    ]
    if not chosen and split is not None:
        splits = sorted({str(track.split) for track in known})
        raise DataError(
            f"no song is in the split {split!r}; the splits are {', '.join(splits) or 'none'}",
            path=folder,
        )
    _check_found(chosen, only, [track.name for track in chosen], folder)
    return chosen


def _check_found(
    found: Sequence[object], only: Sequence[str], names: Sequence[str], folder: Path
) -> None:
    if missing := sorted(set(only) - set(names)):
        raise DataError(f"has no song {missing[0]!r}; check --only", path=folder)
    if not found:
        raise DataError(
            "no song found with a stem that the model has; rename stems as the model's sources",
            path=folder,
        )


def _check_metrics(metrics: Sequence[str]) -> None:
    if unknown := [name for name in metrics if name not in MEASURES]:
        raise ConfigError(f"there is no metric {unknown[0]!r}; choose of {', '.join(MEASURES)}")
    if not metrics:
        raise ConfigError(f"no metric was asked for; choose of {', '.join(MEASURES)}")


def _checksums(model: str | Path | nn.Module, repo: Path | None) -> tuple[str, ...]:
    if isinstance(model, nn.Module):
        return ()
    return tuple(sha256_of(member.path) for member in resolve(model, repo=repo).members)
