"""``SONG.stem.mp4``: MUSDB18 (not HQ), all stems as audio streams of one file."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import av

from audiform.data.findings import Finding, Level
from audiform.data.layouts.reading import SPLIT_FOLDERS, Reading, artist_of
from audiform.data.track import MIXTURE, AudioRef, Track
from audiform.errors import AudioError
from audiform.io.probe import open_container

SUFFIX = ".stem.mp4"

#: What the streams are, in their order: the format itself does not say.
STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")


def is_stem_mp4(root: Path) -> bool:
    """Whether there is a .stem.mp4 in ``root`` or below, or it is one."""
    return any(True for _ in islice(_files(root), 1))


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.name.lower().endswith(SUFFIX) else []
    return sorted(
        Path(place) / name
        for place, _, names in os.walk(root, followlinks=True)
        for name in names
        if name.lower().endswith(SUFFIX) and not name.startswith(".")
    )


def read_stem_mp4(root: Path) -> Reading:
    """Read every .stem.mp4 as a track."""
    reading = Reading()
    for path in _files(root):
        name = path.name[: -len(SUFFIX)]
        parts = path.relative_to(root).parts if root.is_dir() else (path.name,)
        count = _num_streams(path, name, reading)
        if count == 0:
            continue
        if count != len(STREAMS):
            reading.findings.append(
                Finding(
                    Level.error,
                    "missing stem",
                    f"has {count} audio streams; {len(STREAMS)} are expected: {', '.join(STREAMS)}",
                    "give a file with all of them, or the stems as files of their own",
                    track=name,
                    path=path,
                )
            )
        stems = {
            stem: (AudioRef(path, stream=index),)
            for index, stem in enumerate(STREAMS[:count])
            if stem != MIXTURE
        }
        split = SPLIT_FOLDERS.get(parts[0].lower())
        reading.tracks.append(
            Track(name, stems, mixture=AudioRef(path), artist=artist_of(name), split=split)
        )
    return reading


def _num_streams(path: Path, track: str, reading: Reading) -> int:
    try:
        with open_container(path) as container:
            return len(container.streams.audio)
    except (AudioError, av.error.FFmpegError) as error:
        reading.findings.append(
            Finding(
                Level.error,
                "undecodable",
                f"cannot be read ({str(error).removeprefix(f'{path}: ')})",
                "copy or download it again",
                track=track,
                path=path,
            )
        )
        return 0
