"""Scores on disk: a line of provenance, then a line per song, written as they come."""

from __future__ import annotations

import json
import os
from pathlib import Path

from audiform.errors import ConfigError, DataError
from audiform.evaluation.scores import Provenance, SongScores


class ScoresFile:
    """A file of JSON lines that an interrupted run can go on with.

    Raises :class:`ConfigError` if the file exists and ``resume`` is not set, or if it was made
    of something else. A last line that was cut off is dropped: its song is scored again.
    """

    def __init__(self, path: Path, provenance: Provenance, *, resume: bool) -> None:
        self.path = path
        self.done: list[SongScores] = []
        if path.exists() and not resume:
            raise ConfigError(
                f"{path} exists already; go on with it (--resume), delete it, or choose another "
                "name"
            )
        header = json.dumps(provenance.to_json(), ensure_ascii=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size:
            self._read(header)
        else:
            path.write_text(header + "\n", encoding="utf-8")

    def add(self, song: SongScores) -> None:
        """Append a song; it is on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(song.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, header: str) -> None:
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.decode("utf-8").splitlines()
        if not lines:
            self.path.write_text(header + "\n", encoding="utf-8")
            return
        self._check(json.loads(header), lines[0])
        try:
            self.done = [SongScores.from_json(line) for line in lines[1:]]
        except DataError as error:
            raise DataError(str(error), path=self.path) from error
        if len(whole) < len(text):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def _check(self, wanted: dict[str, object], line: str) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            found = {}
        if not isinstance(found, dict) or "audiform_scores" not in found:
            raise DataError(
                "does not begin with a line of scores' provenance; choose another name for -o",
                path=self.path,
            )
        for key in wanted:
            if found.get(key) != wanted[key]:
                raise ConfigError(
                    f"{self.path} holds scores with {key} = {found.get(key)!r}, now it is "
                    f"{wanted[key]!r}; scores of one file are of one kind: choose another name"
                )
