"""``drums/*.wav``, ``vocals/*.wav``: files per stem that have nothing to do with each other.

Each file becomes a track of one stem: material for remixing, of which no mixture exists.
"""

from __future__ import annotations

from pathlib import Path

from audiform.data.layouts.reading import (
    COMMON_STEMS,
    SPLIT_FOLDERS,
    Reading,
    folders,
    walk,
    with_splits,
)
from audiform.data.track import AudioRef, Track


def is_stem_folders(root: Path) -> bool:
    """Whether most folders are named for a stem, and hold audio files named otherwise."""
    places = [place for split, _ in with_splits(root) for place in folders(split)]
    stems = [place for place in places if place.name.lower() in COMMON_STEMS and _is_stem(place)]
    return 2 * len(stems) > len(places)


def _is_stem(place: Path) -> bool:
    _, files = next(walk(place), (place, []))
    return bool(files) and not {path.stem.lower() for path in files} & COMMON_STEMS


def read_stem_folders(root: Path) -> Reading:
    """Read every file, at any depth, as a track with the stem that its first folder names."""
    reading = Reading()
    for place, files in walk(root):
        parts = list(place.relative_to(root).parts)
        split = SPLIT_FOLDERS.get(parts[0].lower()) if parts else None
        if split is not None:
            parts = parts[1:]
        if not parts:
            continue
        for path in files:
            name = "/".join((*parts, path.stem))
            reading.tracks.append(Track(name, {parts[0].lower(): (AudioRef(path),)}, split=split))
    return reading
