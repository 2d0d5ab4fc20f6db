"""Knobs that move: their values at points in time, read from a file, and in between.

Between two points a knob moves evenly in its own scale: a logarithmic one by equal ratios.
Before the first point and after the last it stays where that one has it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from audiform.errors import ConfigError
from audiform.knob import Knob, complete_settings

#: The column of the points' times.
SECONDS = "seconds"


@dataclass(frozen=True)
class Automation:
    """Points of knobs by name: (seconds, value) each, in order of time."""

    points: Mapping[str, tuple[tuple[float, float], ...]]

    def __post_init__(self) -> None:
        for name, points in self.points.items():
            if not points:
                raise ConfigError(f"the automation of {name} has no points; give one at least")
            times = [seconds for seconds, _ in points]
            if not all(math.isfinite(number) for point in points for number in point):
                raise ConfigError(f"the automation of {name} has a value that is no number")
            if any(later <= earlier for earlier, later in pairwise(times)):
                raise ConfigError(
                    f"the automation of {name} goes back in time; order its points by {SECONDS}"
                )

    @classmethod
    def read(cls, path: str | Path) -> Automation:
        """Read a file of points; raises :class:`ConfigError`.

        CSV: a head ``seconds,knob,...``, then a line for each time; an empty place leaves that
        knob out of it. JSON: ``{"knob": [[seconds, value], ...], ...}``.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: the automation cannot be read ({error})") from error
        try:
            is_json = path.suffix.lower() == ".json"
            return cls(_from_json(text) if is_json else _from_csv(text))
        except (ValueError, TypeError, KeyError, RecursionError, csv.Error) as error:
            raise ConfigError(
                f"{path}: is no automation ({error}); a CSV has a head seconds,KNOB,... and a "
                'line of numbers for each time, a JSON is {"KNOB": [[SECONDS, VALUE], ...]}'
            ) from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def check(self, knobs: Sequence[Knob]) -> None:
        """Raise :class:`ConfigError` for a knob that is not there or a value outside its range."""
        for name, points in self.points.items():
            for _, value in points:
                complete_settings(knobs, {name: value})

    def positions(self, knob: Knob, seconds: np.ndarray) -> np.ndarray:
        """Return where ``knob``, one that is automated, stands at each time, in network range."""
        times, values = zip(*self.points[knob.name], strict=True)
        return np.interp(seconds, times, [knob.to_network(value) for value in values])


def _from_csv(text: str) -> dict[str, tuple[tuple[float, float], ...]]:
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    head = [name.strip() for name in next(rows, [])]
    if len(head) < 2 or head[0] != SECONDS or len(set(head)) < len(head) or "" in head:
        raise ValueError(f"its head is {','.join(head)!r}")
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in head[1:]}
    for row in rows:
        if not any(place.strip() for place in row):
            continue
        if len(row) > len(head):
            raise ValueError(f"line {rows.line_num} has {len(row)} values for {len(head)} columns")
        seconds = float(row[0])
        for name, value in zip(head[1:], row[1:], strict=False):
            if value.strip():
                points[name].append((seconds, float(value)))
    return {name: tuple(own) for name, own in points.items()}


def _from_json(text: str) -> dict[str, tuple[tuple[float, float], ...]]:
    values: Any = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("it is no object of knobs")
    return {
        str(name): tuple((float(seconds), float(value)) for seconds, value in points)
        for name, points in values.items()
    }
