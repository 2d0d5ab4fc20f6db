"""Dataset layouts: a new one is a file with two functions and one entry in ``LAYOUTS``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from audiform.data.exclude import EXCLUDE_FILE, exclude, read_exclusions
from audiform.data.findings import Level
from audiform.data.layouts.in_out import (
    is_in_out_files,
    is_in_out_folders,
    read_in_out_files,
    read_in_out_folders,
)
from audiform.data.layouts.index import is_csv, is_jsonl, read_csv, read_jsonl
from audiform.data.layouts.nam import is_nam, read_nam
from audiform.data.layouts.reading import Reading
from audiform.data.layouts.signaltrain import is_signaltrain, read_signaltrain
from audiform.data.layouts.songs import MUSDB_STEMS, is_musdb, is_songs, read_songs
from audiform.data.layouts.stem_folders import is_stem_folders, read_stem_folders
from audiform.data.layouts.stem_mp4 import is_stem_mp4, read_stem_mp4
from audiform.data.track import MIXTURE, Track, map_stems
from audiform.errors import DataError

__all__ = ["LAYOUTS", "Layout", "Reading", "detect_layout", "read_layout", "read_tracks"]


@dataclass(frozen=True)
class Layout:
    """How a dataset lies on disk.

    ``tree`` shows it in a line. ``matches`` looks at names alone; ``read`` decodes nothing.
    ``expected`` are files that every track must have.
    """

    tree: str
    matches: Callable[[Path], bool]
    read: Callable[[Path], Reading]
    expected: tuple[str, ...] = ()


#: Layouts by name, in the order in which they are recognised: the most particular first.
LAYOUTS: dict[str, Layout] = {
    "csv": Layout("tracks.csv, a line per track or per file", is_csv, read_csv),
    "jsonl": Layout("tracks.jsonl, an object per track", is_jsonl, read_jsonl),
    "stem-mp4": Layout("{train,test}/SONG.stem.mp4", is_stem_mp4, read_stem_mp4),
    "nam": Layout("input.wav + output.wav, or their .json", is_nam, read_nam),
    "signaltrain": Layout(
        "{Train,Val,Test}/input_1_.wav + target_1_NAME__KNOB__KNOB.wav + effect_info.ini",
        is_signaltrain,
        read_signaltrain,
    ),
    "in-out-folders": Layout(
        "{input,target}/TAKE.wav", is_in_out_folders, read_in_out_folders
    ),
    "in-out-files": Layout(
        "TAKE_input.wav + TAKE_target__KNOB.wav", is_in_out_files, read_in_out_files
    ),
    "musdb": Layout(
        "{train,test}/SONG/{mixture,drums,bass,other,vocals}.wav",
        is_musdb,
        read_songs,
        expected=(MIXTURE, *MUSDB_STEMS),
    ),
    "stem-folders": Layout(
        "{drums,vocals,...}/ANY.wav, unaligned", is_stem_folders, read_stem_folders
    ),
    "songs": Layout("SONG/STEM.wav, stems of any names", is_songs, read_songs),
}  # fmt: skip


def detect_layout(root: Path) -> str:
    """Return the name of the layout that ``root`` has; raises :class:`DataError` if none fits."""
    if not root.exists():
        raise DataError("there is no such folder or file; check the name", path=root)
    for name, layout in LAYOUTS.items():
        if (root.is_dir() or name in ("csv", "jsonl", "stem-mp4", "nam")) and layout.matches(root):
            return name
    looked_for = "".join(f"\n  {name:<15} {layout.tree}" for name, layout in LAYOUTS.items())
    raise DataError(
        f"no known layout fits; looked for{looked_for}\nfound {_contents(root)}; arrange it as one "
        "of these, or force one with --layout",
        path=root,
    )


def _contents(root: Path) -> str:
    """Say in a line what a folder holds."""
    if root.is_file():
        return f"a file that ends in {root.suffix or 'nothing'}"
    below = [path for path in islice(root.rglob("*"), 10000) if path.is_file()]
    if not below:
        return "no files"
    counts = Counter(path.suffix.lower() or "no ending" for path in below)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
    return f"{len(below)} files ({kinds}), such as {min(below).relative_to(root)}"


def read_layout(root: Path, layout: str | None = None) -> tuple[str, Reading]:
    """Return the layout's name and all that is read, with what could not be understood.

    ``layout`` forces a key of :data:`LAYOUTS`. Raises :class:`DataError` if none fits.
    """
    if layout is not None and layout not in LAYOUTS:
        raise DataError(f"there is no layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    if not root.exists():
        raise DataError("there is no such folder or file; check the name", path=root)
    name = layout or detect_layout(root)
    reading = LAYOUTS[name].read(root)
    if not reading.tracks and not reading.findings:
        raise DataError(
            f"holds no track in the layout {name} ({LAYOUTS[name].tree}); found {_contents(root)}",
            path=root,
        )
    return name, reading


def read_tracks(
    root: Path,
    *,
    layout: str | None = None,
    mapping: Mapping[str, str] | None = None,
    exclusions: Path | None = None,
) -> list[Track]:
    """Return the tracks of a dataset, in order of their names.

    ``layout`` forces a key of :data:`LAYOUTS`. ``mapping`` renames stems
    (:func:`~audiform.data.track.map_stems`). ``exclusions`` is a list of what to leave out
    (:mod:`audiform.data.exclude`), by default the folder's own ``exclude.txt`` if it has one.
    Raises :class:`DataError` if no layout fits, or names and lists cannot be understood.
    """
    _, reading = read_layout(root, layout)
    if errors := [finding for finding in reading.findings if finding.level is Level.error]:
        more = f" (and {len(errors) - 1} more: audiform data check)" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}")
    tracks = map_stems(reading.tracks, mapping) if mapping else reading.tracks
    if exclusions is None and (root / EXCLUDE_FILE).is_file():
        exclusions = root / EXCLUDE_FILE
    if exclusions is not None:
        tracks = exclude(tracks, read_exclusions(exclusions))
    if not tracks:
        raise DataError("no track is left; check the mapping and the exclusions", path=root)
    return sorted(tracks, key=lambda track: track.name)
