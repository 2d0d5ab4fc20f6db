"""Training runs by name. Adding one: write its function, add its line to ``RECIPES``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from audiform.recipes.band_split import band_split, band_split_tiny
from audiform.training.loop import OnProgress


class Recipe(Protocol):
    """A training run: data in, the path of a checkpoint out."""

    def __call__(
        self,
        data: Path,
        output: Path,
        *,
        resume: bool = False,
        start: str | None = None,
        settings: Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Train on ``data``, write into ``output``, return the checkpoint's path.

        ``resume`` goes on from the state in ``output``. ``start`` is a checkpoint, by name or
        path, whose weights the run begins with. ``settings`` replaces values of the
        recipe by dotted path, such as ``{"training.max_seconds": 600}``. ``on_progress`` is
        told after each step where the run stands.
        """
        ...


#: Name, as ``audiform train`` takes it -> training run.
RECIPES: dict[str, Recipe] = {
    "default": band_split,
    "default-tiny": band_split_tiny,
}
