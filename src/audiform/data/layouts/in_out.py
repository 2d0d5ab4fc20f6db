"""Effects: what went in and what came out, in two folders or side by side.

Folders: ``input/take1.wav`` and ``target/take1.wav``. Files: ``take1_input.wav`` and
``take1_target.wav``, or one ``input.wav`` with a target per setting,
``target__gain050.wav``, whose knobs follow a double underscore.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from audiform.data.findings import Finding, Level
from audiform.data.layouts.knob_values import parse_knobs
from audiform.data.layouts.reading import (
    SPLIT_FOLDERS,
    Reading,
    audio_files,
    folders,
    walk,
    with_splits,
)
from audiform.data.track import INPUT, TARGET, AudioRef, Track

#: What the two sides are called, in lower case.
SIDES = {
    "input": INPUT, "inputs": INPUT, "dry": INPUT,
    "target": TARGET, "targets": TARGET, "output": TARGET, "outputs": TARGET, "wet": TARGET,
}  # fmt: skip

_SIDE_IN_NAME = re.compile(
    r"(?:^|[_\-. ])(?P<side>input|dry|target|output|wet)(?=$|[_\-. ])", re.IGNORECASE
)


@dataclass(frozen=True)
class _Side:
    """A file's part of a pair: which side it is, what the pair is called, the settings' text."""

    side: str
    key: str
    knobs: str
    path: Path


def is_in_out_folders(root: Path) -> bool:
    """Whether there is a folder of inputs next to one of targets."""
    return any(_side_folders(place).keys() == {INPUT, TARGET} for place, _ in with_splits(root))


def read_in_out_folders(root: Path) -> Reading:
    """Pair the files of the two folders by name; knobs may follow the target's name."""
    reading = Reading()
    for place, split in with_splits(root):
        sides = [
            _Side(side, *_key_and_knobs(path.stem), path)
            for side, folder in _side_folders(place).items()
            for path in audio_files(folder)
        ]
        _pair(sides, reading, prefix="", split=split)
    return reading


def _side_folders(place: Path) -> dict[str, Path]:
    return {SIDES[path.name.lower()]: path for path in folders(place) if path.name.lower() in SIDES}


def is_in_out_files(root: Path) -> bool:
    """Whether a folder has both files named input and files named target."""
    return any(
        {side.side for path in files if (side := _side_of(path))} == {INPUT, TARGET}
        for _, files in islice(walk(root), 1000)
    )


def read_in_out_files(root: Path) -> Reading:
    """Pair the files of each folder by what their names share."""
    reading = Reading()
    for place, files in walk(root):
        sides = [side for path in files if (side := _side_of(path))]
        parts = list(place.relative_to(root).parts)
        split = SPLIT_FOLDERS.get(parts[0].lower()) if parts else None
        prefix = "".join(f"{part}/" for part in (parts[1:] if split else parts))
        _pair(sides, reading, prefix=prefix, split=split)
    return reading


def _side_of(path: Path) -> _Side | None:
    """Return which part of a pair the file's name says it is, None if it says nothing."""
    name, double, knobs = path.stem.partition("__")
    match = _SIDE_IN_NAME.search(name)
    if match is None:
        return None
    around = (name[: match.start()], name[match.end() :])
    key = "_".join(part.strip("_-. ") for part in around if part.strip("_-. "))
    return _Side(SIDES[match["side"].lower()], key, knobs if double else "", path)


def _key_and_knobs(name: str) -> tuple[str, str]:
    key, _, knobs = name.partition("__")
    return key, knobs


def _pair(sides: list[_Side], reading: Reading, *, prefix: str, split: str | None) -> None:
    inputs = {side.key: side for side in sides if side.side == INPUT}
    targets = [side for side in sides if side.side == TARGET]
    used = set()
    for target in targets:
        source = inputs.get(target.key)
        if source is None:
            reading.findings.append(_alone(target, "input"))
            continue
        used.add(source.key)
        own = "__".join(part for part in (target.key, target.knobs) if part)
        name = f"{prefix}{own}" if own else prefix.rstrip("/")
        reading.tracks.append(
            effect_track(
                name or "pair",
                input_path=source.path,
                target_path=target.path,
                knobs=_knobs(target, reading),
                split=split,
            )
        )
    reading.findings += [_alone(side, "target") for key, side in inputs.items() if key not in used]


def effect_track(
    name: str,
    *,
    input_path: Path,
    target_path: Path,
    knobs: dict[str, float],
    split: str | None,
) -> Track:
    """Return the track of a pair of files."""
    stems = {INPUT: (AudioRef(input_path),), TARGET: (AudioRef(target_path),)}
    return Track(name, stems, split=split, knobs=knobs, is_sum=False)


def _alone(side: _Side, missing: str) -> Finding:
    return Finding(
        Level.error,
        f"missing {missing}",
        f"has no {missing} that goes with it (one that shares {side.key!r} in its name)",
        "add it, rename it, or take this file away",
        path=side.path,
    )


def _knobs(target: _Side, reading: Reading) -> dict[str, float]:
    try:
        return parse_knobs(target.knobs)
    except ValueError as error:
        reading.findings.append(unreadable_knobs(target.path, error))
        return {}


def unreadable_knobs(path: Path, error: ValueError) -> Finding:
    """Return the finding about a name whose knob values make no sense."""
    return Finding(
        Level.error,
        "unreadable knobs",
        str(error),
        "name the file target__VALUE__VALUE.wav, numbers only",
        path=path,
    )
