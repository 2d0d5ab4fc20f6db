"""Lists of tracks: CSV and JSON lines. Paths are relative to the list.

CSV, a line per track: ``track``, and if wished ``artist``, ``split`` (train, valid, test) and
``knob:NAME``; every other column is a stem (or ``mixture``), its cells paths, several separated
by ``|``. CSV, a line per file: ``stem`` and ``path``, if wished ``track``, ``artist``, ``split``;
without ``track`` the files are unaligned. JSON lines: objects with ``track``, ``stems`` (name ->
path or list of paths), if wished ``mixture``, ``artist``, ``split``, ``knobs``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audiform.data.findings import Finding, Level
from audiform.data.layouts.reading import SPLIT_FOLDERS, Reading, artist_of
from audiform.data.track import INPUT, MIXTURE, TARGET, AudioRef, Track
from audiform.errors import DataError

_NAMES = ("track", "name")
_DESCRIPTIONS = ("artist", "split")
_KNOB_PREFIX = "knob:"


def is_csv(root: Path) -> bool:
    """Whether it is a CSV file, or a folder with ``tracks.csv``."""
    return _file(root, ".csv") is not None


def is_jsonl(root: Path) -> bool:
    """Whether it is a file of JSON lines, or a folder with ``tracks.jsonl``."""
    return _file(root, ".jsonl") is not None


def _file(root: Path, suffix: str) -> Path | None:
    if root.is_file():
        return root if root.suffix.lower() == suffix else None
    place = root / f"tracks{suffix}"
    return place if place.is_file() else None


def read_csv(root: Path) -> Reading:
    """Read a list with a line per track, or a line per file."""
    path = _file(root, ".csv")
    assert path is not None
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        columns = [column.strip() for column in table.fieldnames or ()]
        table.fieldnames = columns
        rows = [(table.line_num, row) for row in table]
    if "path" in columns and ("stem" in columns or "instrum" in columns):
        return _reading(path, _joined(rows, "stem" if "stem" in columns else "instrum"))
    name = next((column for column in _NAMES if column in columns), None)
    if name is None or len(set(columns) - {name, *_DESCRIPTIONS}) == 0:
        raise DataError(
            f"is a list with the columns {', '.join(columns) or 'none'}; it needs 'track' and a "
            "column per stem, or 'stem' and 'path'",
            path=path,
        )
    return _reading(path, [(line, _from_columns(row, name)) for line, row in rows])


def _from_columns(row: dict[str, str], name: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"track": row[name], "stems": {}, "knobs": {}}
    for column, cell in row.items():
        if column == name or column is None or not (cell or "").strip():
            continue
        if column in _DESCRIPTIONS:
            entry[column] = cell.strip()
        elif column.startswith(_KNOB_PREFIX):
            entry["knobs"][column.removeprefix(_KNOB_PREFIX)] = cell
        else:
            entry["stems"][column] = [part.strip() for part in cell.split("|")]
    return entry


def _joined(rows: list[tuple[int, dict[str, str]]], column: str) -> list[tuple[int, Any]]:
    """Join the lines of one track; a line without a track is one of its own."""
    entries: dict[str, tuple[int, dict[str, Any]]] = {}
    for line, row in rows:
        name = (row.get("track") or "").strip() or f"{row[column]}/{Path(row['path']).stem}"
        _, entry = entries.setdefault(name, (line, {"track": name, "stems": {}}))
        entry["stems"].setdefault((row[column] or "").strip(), []).append(row["path"].strip())
        entry.update({key: row[key].strip() for key in _DESCRIPTIONS if row.get(key)})
    return list(entries.values())


def read_jsonl(root: Path) -> Reading:
    """Read a list with a JSON object per line."""
    path = _file(root, ".jsonl")
    assert path is not None
    entries: list[tuple[int, Any]] = []
    findings = []
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            entries.append((line, json.loads(text)))
        except ValueError as error:
            findings.append(_unreadable(path, line, str(error)))
    reading = _reading(path, entries)
    reading.findings[:0] = findings
    return reading


def _reading(path: Path, entries: Iterable[tuple[int, Any]]) -> Reading:
    reading = Reading()
    for line, entry in entries:
        try:
            reading.tracks.append(_track(entry, path.parent))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reading.findings.append(_unreadable(path, line, repr(error)))
    return reading


def _track(entry: dict[str, Any], folder: Path) -> Track:
    name = str(next(entry[key] for key in _NAMES if key in entry) if entry else "").strip()
    stems: dict[str, tuple[AudioRef, ...]] = {}
    parts = dict(entry["stems"])
    if entry.get(MIXTURE):
        parts[MIXTURE] = entry[MIXTURE]
    for stem, paths in parts.items():
        listed = [paths] if isinstance(paths, str) else list(paths)
        stems[stem] = tuple(AudioRef(folder / path) for path in listed)
    mixtures = stems.pop(MIXTURE, ())
    if not name or not stems or len(mixtures) > 1:
        raise ValueError("a track needs a name, stems, and at most one mixture")
    split = entry.get("split")
    if split and split.lower() not in SPLIT_FOLDERS:
        raise ValueError(f"the split is {split!r}; train, valid and test are known")
    return Track(
        name,
        stems,
        mixture=mixtures[0] if mixtures else None,
        artist=entry.get("artist") or artist_of(name),
        split=SPLIT_FOLDERS[split.lower()] if split else None,
        knobs={key: float(value) for key, value in (entry.get("knobs") or {}).items()},
        is_sum=stems.keys() != {INPUT, TARGET},
    )


def _unreadable(path: Path, line: int, why: str) -> Finding:
    return Finding(
        Level.error,
        "unreadable line",
        f"line {line} cannot be understood ({why})",
        "see the columns in the guide on data",
        path=path,
    )
