"""A recipe from a function that returns its settings and one that runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from audiform.errors import ConfigError
from audiform.recipes.settings import with_settings
from audiform.recipes.start import StartConfig

if TYPE_CHECKING:
    from audiform.training.loop import OnProgress

Run = TypeVar("Run", bound=BaseModel)


@dataclass(frozen=True)
class NamedRecipe(Generic[Run]):
    """A recipe (:class:`audiform.recipes.Recipe`).

    ``run(settings, data, output, name=, resume=, on_progress=)`` trains and returns the path of
    the checkpoint. Settings with a field ``start``, a :class:`StartConfig` or None, can go on
    from a checkpoint; others begin with fresh weights.
    """

    name: str
    settings_of: Callable[[], Run]
    run: Callable[..., Path]

    def __post_init__(self) -> None:
        # what `audiform train list` says
        described = getattr(self.settings_of, "func", self.settings_of)
        object.__setattr__(self, "__doc__", described.__doc__)

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
        """Train; return the checkpoint's path."""
        recipe = self.settings_of()
        if start is not None:
            if "start" not in type(recipe).model_fields:
                raise ConfigError("this run begins with fresh weights; leave --from out")
            begin = getattr(recipe, "start", None) or StartConfig()
            begin = begin.model_copy(update={"checkpoint": start})
            recipe = recipe.model_copy(update={"start": begin})
        recipe = with_settings(recipe, settings or {})
        return self.run(
            recipe, data, output, name=self.name, resume=resume, on_progress=on_progress
        )
