"""Scores of songs, what they are of, and how they are summed up over songs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any

from audiform import __version__
from audiform.errors import DataError
from audiform.evaluation.figures import FIGURES
from audiform.evaluation.measures import Figures
from audiform.evaluation.song_audio import FLOORS

#: Version of the files that scores are kept in.
FORMAT = 1

#: What is scored: the estimates, and what they are to be compared with.
SCORED = ("estimate", *FLOORS)

#: Digits after the point that are kept.
DIGITS = 4


@dataclass(frozen=True)
class Provenance:
    """What was scored, and how.

    ``subject`` is a model's name or a folder of estimates, ``checkpoints`` the sha256 of a
    model's files. ``settings`` are options of the separation that differ from their defaults.
    """

    subject: str
    data: str
    metrics: tuple[str, ...]
    sources: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    version: str = __version__

    def to_json(self) -> dict[str, Any]:
        """Return what the first line of a file of scores holds."""
        return {"audiform_scores": FORMAT, **asdict(self)}


@dataclass(frozen=True)
class SongScores:
    """Scores of one song.

    ``stems[stem][figure][of]`` is a number, ``of`` being ``estimate``, ``mixture`` or
    ``ideal_mask``; what is not defined is left out. ``windows[stem][figure]`` are the
    estimate's figures second by second, None where there is none. ``remarks`` are sentences
    that a reader of the figures must know.
    """

    name: str
    seconds: float
    stems: dict[str, dict[str, dict[str, float]]]
    windows: dict[str, dict[str, list[float | None]]]
    remarks: tuple[str, ...] = ()

    @classmethod
    def collect(
        cls, name: str, seconds: float, sources: Sequence[str], found: Sequence[Figures]
    ) -> SongScores:
        """Turn what the measures found into scores by stem."""
        stems: dict[str, dict[str, dict[str, float]]] = {source: {} for source in sources}
        windows: dict[str, dict[str, list[float | None]]] = {source: {} for source in sources}
        for figures in found:
            for figure, by_name in figures.values.items():
                for index, source in enumerate(sources):
                    defined = {
                        of: round(value, DIGITS)
                        for of, values in by_name.items()
                        if (value := values[index]) is not None
                    }
                    if "estimate" in defined:
                        stems[source][figure] = defined
            for figure, rows in figures.windows.items():
                for source, row in zip(sources, rows, strict=True):
                    windows[source][figure] = [
                        None if value is None else round(value, DIGITS) for value in row
                    ]
        remarks = tuple(remark for figures in found for remark in figures.remarks)
        return cls(name, round(seconds, 3), stems, windows, remarks)

    def to_json(self) -> str:
        """Return the scores as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> SongScores:
        """Read a line again; raises :class:`DataError` for one that is something else."""
        try:
            found = json.loads(line)
            return cls(**{**found, "remarks": tuple(found["remarks"])})
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(
                f"a line of scores was expected, found {line[:60]!r} ({error}); "
                "was the file made by another program?"
            ) from error


@dataclass(frozen=True)
class Evaluation:
    """All songs' scores, and what they are of."""

    provenance: Provenance
    songs: tuple[SongScores, ...]

    def over_songs(
        self, statistic: Callable[[Sequence[float]], float], *, means: bool = False
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Sum up over songs: ``result[stem][figure][of]``.

        Of figures in windows the song's median is taken, or with ``means`` its mean.
        """
        result: dict[str, dict[str, dict[str, float]]] = {}
        for source in self.sources():
            by_figure = result[source] = {}
            for figure, kind in FIGURES.items():
                key = kind.mean if means and kind.mean else figure
                found = {
                    of: round(statistic(values), DIGITS)
                    for of in SCORED
                    if (
                        values := [
                            song.stems[source][key][of]
                            for song in self.songs
                            if of in song.stems.get(source, {}).get(key, {})
                        ]
                    )
                }
                if found:
                    by_figure[figure] = found
        return result

    def medians(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return medians over songs of medians over windows: the campaign's convention."""
        return self.over_songs(median)

    def means(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return means over songs of means over windows."""
        return self.over_songs(fmean, means=True)

    def sources(self) -> tuple[str, ...]:
        """Return the names of all stems, in order of appearance."""
        return tuple(dict.fromkeys(source for song in self.songs for source in song.stems))

    def to_json(self) -> str:
        """Return everything as one JSON document."""
        return json.dumps(
            {
                **self.provenance.to_json(),
                "songs": [asdict(song) for song in self.songs],
                "median": self.medians(),
                "mean": self.means(),
            },
            ensure_ascii=False,
            indent=2,
        )

    def table(self) -> str:
        """Return medians and means over songs, with the floors, as a text table."""
        counted = f"{len(self.songs)} song{'s' if len(self.songs) != 1 else ''}"
        lines = [
            f"{self.provenance.subject}, {counted}",
            "median: of windows where a figure has windows (BSSEval), then of songs, as museval",
            "mean:   of windows, then of songs",
            "floors: the mixture as the estimate, an ideal ratio mask (medians)",
            "",
            f"{'stem':<10} {'figure':<18} {'median':>8} {'mean':>8} {'mixture':>8} {'ideal':>8}",
        ]
        means = self.means()
        for source, figures in self.medians().items():
            if not figures:
                lines.append(f"{source:<10} has no figure: absent, or nothing came out")
            for figure, of in figures.items():
                numbers = (
                    of.get("estimate"),
                    means[source][figure].get("estimate"),
                    of.get("mixture"),
                    of.get("ideal_mask"),
                )
                columns = " ".join(f"{shown(value):>8}" for value in numbers)
                kind = FIGURES[figure]
                lines.append(f"{source:<10} {kind.label:<18} {columns}  {kind.unit}")
        for song in self.songs:
            lines += [f"note: {song.name}: {remark}" for remark in song.remarks]
        return "\n".join(lines)

    def summary(self) -> dict[str, Any]:
        """Return the medians in the form of a checkpoint's header."""
        return {"metric": "medians over songs; see audiform evaluate", "stems": self.medians()}


def shown(value: float | None, *, digits: int = 2) -> str:
    """Return a figure as tables show it.

    Ratios beyond 100 dB say that there is nothing to divide by: rounding.

    >>> shown(3.14159), shown(202.1), shown(None)
    ('3.14', '>100', '-')
    """
    if value is None:
        return "-"
    return ">100" if value > 100 else f"{value:.{digits}f}"
