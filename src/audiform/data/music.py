"""A folder of music: any audio files at any depth, and songs in stems, as tracks to hear whole."""

from __future__ import annotations

from pathlib import Path

from audiform.data.layouts.reading import COMMON_STEMS, artist_of, walk
from audiform.data.track import MIXTURE, AudioRef, Track
from audiform.errors import DataError
from audiform.io.paths import AUDIO_EXTENSIONS


def read_music(root: Path) -> list[Track]:
    """Return a track for every audio file below ``root``, in order of their names.

    A folder with a mixture, or with stems of common names beside each other, is one track: its
    mixture, or the sum of its stems. The artist of a file is what its name says, else the folder
    that it lies in: files of one album are split together. Raises :class:`DataError` where
    there are none.
    """
    tracks = [track for place, files in walk(root) for track in _tracks(root, place, files)]
    if not tracks:
        raise DataError(
            f"holds no music: no file ends in {', '.join(sorted(AUDIO_EXTENSIONS))}; give a "
            "folder that has some, at any depth",
            path=root,
        )
    return sorted(tracks, key=lambda track: track.name)


def _tracks(root: Path, place: Path, files: list[Path]) -> list[Track]:
    below = place.relative_to(root)
    by_stem = {path.stem.lower(): path for path in files}
    if MIXTURE in by_stem or len(COMMON_STEMS & set(by_stem)) > 1:
        name = below.as_posix() if below.parts else place.name
        if MIXTURE in by_stem:
            return [Track(name, {}, mixture=AudioRef(by_stem[MIXTURE]), artist=artist_of(name))]
        stems = {stem: (AudioRef(path),) for stem, path in sorted(by_stem.items())}
        return [Track(name, stems, artist=artist_of(name))]
    album = below.as_posix() if below.parts else None
    return [
        Track(
            (below / path.name).as_posix(),
            {},
            mixture=AudioRef(path),
            artist=artist_of(path.stem) or album,
        )
        for path in files
    ]
