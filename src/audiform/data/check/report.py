"""The report on a dataset: for people as text, for machines as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiform.data.findings import Finding, Level


@dataclass(frozen=True)
class Report:
    """What a dataset is, and all that was noticed, the worst first."""

    root: Path
    layout: str
    num_tracks: int
    num_files: int
    duration_seconds: float
    stems: dict[str, int]
    splits: dict[str, int]
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        """Return how many findings have this level."""
        return sum(finding.level is level for finding in self.findings)

    @property
    def has_errors(self) -> bool:
        """Whether anything would spoil training."""
        return self.count(Level.error) > 0

    def by_cause(self) -> dict[tuple[Level, str], list[Finding]]:
        """Return the findings grouped by level and cause, the worst and most frequent first."""
        groups: dict[tuple[Level, str], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.level, finding.cause), []).append(finding)
        order = list(Level)
        return dict(sorted(groups.items(), key=lambda it: (order.index(it[0][0]), -len(it[1]))))

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(
            {
                "root": str(self.root),
                "layout": self.layout,
                "tracks": self.num_tracks,
                "files": self.num_files,
                "duration_seconds": round(self.duration_seconds, 3),
                "stems": self.stems,
                "splits": self.splits,
                "counts": {level.value: self.count(level) for level in Level},
                "findings": [_record(finding, self.root) for finding in self.findings],
            },
            indent=2,
            ensure_ascii=False,
        )


def _record(finding: Finding, root: Path) -> dict[str, Any]:
    return {
        "level": finding.level.value,
        "cause": finding.cause,
        "track": finding.track,
        "path": None if finding.path is None else str(relative(finding.path, root)),
        "message": finding.message,
        "cure": finding.cure,
    }


def relative(path: Path, root: Path) -> Path:
    """Return ``path`` as seen from the dataset, where it lies in it."""
    base = root if root.is_dir() else root.parent
    return path.relative_to(base) if path.is_relative_to(base) else path


def counted(names: list[str]) -> dict[str, int]:
    """Return how often each name occurs, by name."""
    return dict(sorted(Counter(names).items()))
