"""``Finding``: one thing that was noticed about a dataset, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Level(StrEnum):
    """How bad it is: an error spoils training, a warning may, a note is good to know."""

    error = "error"
    warning = "warning"
    note = "note"


@dataclass(frozen=True)
class Finding:
    """``cause`` is a short fixed name of what is wrong; ``message`` says it with its numbers.

    ``track`` and ``path`` say where; either may be absent. ``cure`` is what to do.
    """

    level: Level
    cause: str
    message: str
    cure: str
    track: str | None = None
    path: Path | None = None

    def __str__(self) -> str:
        place = self.path or self.track
        return f"{f'{place}: ' if place else ''}{self.message}; {self.cure}"
