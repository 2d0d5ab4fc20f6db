"""Lists of what to leave out of a dataset: a track, or one stem of it, per line.

``TRACK`` alone, or ``TRACK<tab>STEM``; lines that begin with ``#`` are comments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from audiform.data.track import MIXTURE, Track
from audiform.errors import DataError

#: A list of this name in a dataset's folder is honoured without being asked for.
EXCLUDE_FILE = "exclude.txt"


def read_exclusions(path: Path) -> set[tuple[str, str | None]]:
    """Return pairs of a track and a stem, None for the whole track; raises :class:`DataError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"the list of exclusions cannot be read ({error.strerror})", path=path
        ) from error
    pairs = set()
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        track, _, stem = line.partition("\t")
        pairs.add((track.strip(), stem.strip() or None))
    return pairs


def write_exclusions(
    path: Path, pairs: Iterable[tuple[str, str | None]], *, comment: str = ""
) -> None:
    """Write such a list, aside and renamed, ``comment`` above it."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [track if stem is None else f"{track}\t{stem}" for track, stem in pairs]
    part = path.with_name(path.name + ".part")
    part.write_text("\n".join([*lines, ""]), encoding="utf-8")
    part.replace(path)


def exclude(tracks: Iterable[Track], pairs: set[tuple[str, str | None]]) -> list[Track]:
    """Return the tracks without what is left out; one without stems is left out as a whole."""
    kept = []
    for track in tracks:
        if (track.name, None) in pairs:
            continue
        stems = {
            name: refs for name, refs in track.stems.items() if (track.name, name) not in pairs
        }
        mixture = None if (track.name, MIXTURE) in pairs else track.mixture
        if stems:
            kept.append(replace(track, stems=stems, mixture=mixture))
    return kept
