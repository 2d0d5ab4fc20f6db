"""``SONG/{drums,bass,...}.wav``: a folder per song, a file per stem.

The folders may lie in ``train/``, ``valid/``, ``test/``, and in folders of artists. MUSDB18-HQ
is this layout with fixed stems.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

from audiform.data.findings import Finding, Level
from audiform.data.layouts.reading import (
    COMMON_STEMS,
    SPLIT_FOLDERS,
    Reading,
    artist_of,
    audio_files,
    folders,
    walk,
)
from audiform.data.track import MIXTURE, AudioRef, Track

#: What every song of MUSDB18 has.
MUSDB_STEMS = ("drums", "bass", "other", "vocals")

#: Which file is read where a stem has several.
PREFERRED = (".wav", ".flac", ".ogg")


def is_songs(root: Path) -> bool:
    """Whether there are songs: folders with a common stem, or whose files have the same names."""
    places = [[path.stem.lower() for path in files] for _, files in islice(walk(root), 1000)]
    if any(COMMON_STEMS.intersection(names) for names in places):
        return True
    counts = Counter(name for names in places for name in set(names))
    recurring = sum(count for count in counts.values() if count > 1)
    return 2 * recurring > counts.total()


def is_musdb(root: Path) -> bool:
    """Whether most songs in train/ or test/ have a mixture and MUSDB18's four stems."""
    songs = [
        song
        for split in ("train", "test")
        if (root / split).is_dir()
        for song in folders(root / split)
    ]
    complete = [
        song
        for song in songs
        if {MIXTURE, *MUSDB_STEMS} <= {path.stem.lower() for path in audio_files(song)}
    ]
    return 2 * len(complete) > len(songs)


def read_songs(root: Path) -> Reading:
    """Read every folder with audio files as a song."""
    reading = Reading()
    for place, files in walk(root):
        parts = list(place.relative_to(root).parts)
        split = SPLIT_FOLDERS.get(parts[0].lower()) if parts else None
        if split is not None:
            parts = parts[1:]
        name = "/".join(parts) or place.name
        artist = artist_of(name) or (parts[-2] if len(parts) > 1 else None)
        mixture, stems = None, {}
        for stem, path in _by_stem(files, name, reading).items():
            if stem == MIXTURE:
                mixture = AudioRef(path)
            else:
                stems[stem] = (AudioRef(path),)
        reading.tracks.append(Track(name, stems, mixture=mixture, artist=artist, split=split))
    return reading


def _by_stem(files: list[Path], track: str, reading: Reading) -> dict[str, Path]:
    """Return one file per stem; two of a name are told apart by their format."""

    def preference(path: Path) -> tuple[int, str]:
        suffix = path.suffix.lower()
        return (PREFERRED.index(suffix) if suffix in PREFERRED else len(PREFERRED), path.name)

    stems: dict[str, Path] = {}
    for path in sorted(files, key=preference):
        stem = path.stem.lower()
        if stem in stems:
            reading.findings.append(
                Finding(
                    Level.warning,
                    "stem twice",
                    f"is the stem {stem!r}, and so is {stems[stem].name}, which is used",
                    "keep one of them",
                    track=track,
                    path=path,
                )
            )
        else:
            stems[stem] = path
    return dict(sorted(stems.items()))
