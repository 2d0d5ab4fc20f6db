"""What the readers of layouts share: what they return, and how they look at folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audiform.data.findings import Finding
from audiform.data.track import Track
from audiform.io.paths import AUDIO_EXTENSIONS

#: Folder names (in lower case) that say what their tracks are for.
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
}

#: Names that stems commonly have: by them a folder of stems is told from a folder of a song.
COMMON_STEMS = frozenset(
    {
        "drums", "bass", "other", "vocals", "guitar", "piano", "keys", "strings", "synth", "synths",
        "percussion", "voice", "voices", "instrumental", "accompaniment", "mixture", "brass",
        "winds", "speech", "music", "effects", "noise",
    }
)  # fmt: skip


@dataclass
class Reading:
    """The tracks of a dataset, and what could not be understood of its names and lists."""

    tracks: list[Track] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files directly in ``folder``, by name; hidden ones do not count."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_EXTENSIONS
        and not path.name.startswith(".")
        and path.is_file()
    )


def folders(root: Path) -> list[Path]:
    """Return the folders directly in ``root``, by name; hidden ones do not count."""
    return sorted(
        path
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    )


def walk(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield ``root`` and every folder below it that has audio files, with these files."""
    for place, below, _ in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        if files := audio_files(Path(place)):
            yield Path(place), files


def with_splits(root: Path) -> list[tuple[Path, str | None]]:
    """Return the folders train, valid, test in ``root`` with their split, or ``root`` alone."""
    places = [
        (place, SPLIT_FOLDERS[place.name.lower()])
        for place in folders(root)
        if place.name.lower() in SPLIT_FOLDERS
    ]
    return list(places) or [(root, None)]


def artist_of(name: str) -> str | None:
    """Return the artist of ``Artist - Title``, None for another name."""
    artist, dash, title = name.rpartition("/")[2].partition(" - ")
    return artist.strip() if dash and artist.strip() and title.strip() else None
