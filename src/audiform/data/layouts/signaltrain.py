"""SignalTrain's datasets: ``Train/input_3_.wav``, ``Train/target_3_LA2A__0__70.wav``.

Folders ``Train``, ``Val`` and ``Test``; the number pairs the files, a double underscore stands
before each knob's value. ``effect_info.ini`` names the knobs and their ranges as Python lists,
which are read as literals and never run.
"""

from __future__ import annotations

import ast
import configparser
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiform.data.findings import Finding, Level
from audiform.data.layouts.in_out import (
    effect_track,
    is_in_out_files,
    is_in_out_folders,
    unreadable_knobs,
)
from audiform.data.layouts.knob_values import parse_knobs
from audiform.data.layouts.reading import Reading, audio_files, with_splits

INFO_FILE = "effect_info.ini"

_INPUT = re.compile(r"input_(?P<number>\d+)_?", re.IGNORECASE)
_TARGET = re.compile(
    r"target_(?P<number>\d+)_(?P<effect>.*?)(?:__(?P<knobs>.*))?", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True)
class EffectInfo:
    """What ``effect_info.ini`` says: the knobs in order, their ranges, whether to learn the way
    back from what came out to what went in."""

    name: str = ""
    knob_names: tuple[str, ...] = ()
    knob_ranges: tuple[tuple[float, float], ...] = ()
    inverse: bool = False


def is_signaltrain(root: Path) -> bool:
    """Whether there are files of both patterns, or the description of an effect and no others."""
    for place, _ in with_splits(root):
        names = [path.stem for path in audio_files(place)]
        if any(map(_INPUT.fullmatch, names)) and any(map(_TARGET.fullmatch, names)):
            return True
    is_other = is_in_out_folders(root) or is_in_out_files(root)
    return find_info(root) is not None and not is_other


def find_info(root: Path) -> Path | None:
    """Return where the description of the effect is, None if there is none."""
    places = [root, *(place for place, _ in with_splits(root))]
    return next((place / INFO_FILE for place in places if (place / INFO_FILE).is_file()), None)


def read_signaltrain(root: Path) -> Reading:
    """Pair inputs and targets by their number."""
    reading = Reading()
    info = read_info(find_info(root), reading)
    for place, split in with_splits(root):
        inputs: dict[int, Path] = {}
        targets: list[tuple[int, str, Path]] = []
        for path in audio_files(place):
            if match := _INPUT.fullmatch(path.stem):
                inputs[int(match["number"])] = path
            elif match := _TARGET.fullmatch(path.stem):
                targets.append((int(match["number"]), match["knobs"] or "", path))
            else:
                reading.findings.append(_unknown(path))
        for number, text, path in targets:
            if number not in inputs:
                reading.findings.append(_missing(path, "input", number))
                continue
            first, second = inputs[number], path
            if info.inverse:
                first, second = second, first
            reading.tracks.append(
                effect_track(
                    path.stem.partition("_")[2],
                    input_path=first,
                    target_path=second,
                    knobs=_knobs(text, path, info, reading),
                    split=split,
                )
            )
        for number in sorted(inputs.keys() - {number for number, _, _ in targets}):
            reading.findings.append(_missing(inputs[number], "target", number))
    return reading


def read_info(path: Path | None, reading: Reading) -> EffectInfo:
    """Read a description; what cannot be understood becomes a finding of ``reading``."""
    if path is None:
        return EffectInfo()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = parser["effect"]
        ranges = _literal(section.get("knob_ranges", "[]"))
        return EffectInfo(
            name=section.get("name", "").strip("'\""),
            knob_names=tuple(str(name) for name in _literal(section.get("knob_names", "[]"))),
            knob_ranges=tuple((float(low), float(high)) for low, high in ranges),
            inverse=section.get("inverse", "False").strip().lower() in ("true", "1", "yes", "on"),
        )
    except (configparser.Error, KeyError, ValueError, TypeError, SyntaxError) as error:
        reading.findings.append(
            Finding(
                Level.error,
                "unreadable effect_info.ini",
                f"cannot be understood ({error})",
                "it needs a section [effect] with name, knob_names and knob_ranges, lists of "
                "texts and of pairs of numbers",
                path=path,
            )
        )
        return EffectInfo()


def _literal(text: str) -> list[Any]:
    value = ast.literal_eval(text.strip())
    if not isinstance(value, list | tuple):
        raise ValueError(f"{text.strip()!r} is no list")
    return list(value)


def _knobs(text: str, path: Path, info: EffectInfo, reading: Reading) -> dict[str, float]:
    try:
        knobs = parse_knobs(text, info.knob_names)
    except ValueError as error:
        reading.findings.append(unreadable_knobs(path, error))
        return {}
    for (name, value), (low, high) in zip(knobs.items(), info.knob_ranges, strict=False):
        if not low <= value <= high:
            reading.findings.append(
                Finding(
                    Level.warning,
                    "knob out of range",
                    f"sets {name} to {value:g}, {INFO_FILE} allows {low:g} to {high:g}",
                    "correct the name or the range",
                    path=path,
                )
            )
    return knobs


def _unknown(path: Path) -> Finding:
    return Finding(
        Level.warning,
        "unknown name",
        "is neither input_NUMBER_ nor target_NUMBER_EFFECT__VALUE...",
        "rename it or take it away; it is not used",
        path=path,
    )


def _missing(path: Path, what: str, number: int) -> Finding:
    return Finding(
        Level.error,
        f"missing {what}",
        f"has no {what} with the number {number}",
        "add it, or take this file away",
        path=path,
    )
