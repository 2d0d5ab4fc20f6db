"""Changing the settings of a recipe by dotted path, as ``--set PATH=VALUE`` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from audiform.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)


def with_settings(recipe: Settings, settings: Mapping[str, Any]) -> Settings:
    """Return ``recipe`` with values replaced by dotted path, validated anew.

    A number in a path is a place in a list: ``augmentations.0.probability``. Raises
    :class:`ConfigError` for a path that does not exist, or a value that it does not take.
    """
    values = recipe.model_dump()
    for path, value in settings.items():
        _replace(values, path, value)
    try:
        return type(recipe).model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'recipe'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise ConfigError(f"the recipe does not take these settings: {problems}") from error


def _replace(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = values
    for number, name in enumerate([*parents, last]):
        found = _keys(place)
        if name not in found:
            where = ".".join(parents[:number]) or "the recipe"
            raise ConfigError(
                f"the recipe has no setting {path!r}; {where} has "
                f"{', '.join(found) if found else 'no parts'}"
            )
        if number < len(parents):
            place = _opened(place, name)
    place[int(last) if isinstance(place, list) else last] = value


def _keys(place: Any) -> list[str]:
    if isinstance(place, Mapping):
        return [str(key) for key in place]
    if isinstance(place, list | tuple):
        return [str(index) for index in range(len(place))]
    return []


def _opened(place: Any, name: str) -> Any:
    """Return what lies below ``name``; a tuple there becomes a list, which can be changed."""
    key = int(name) if isinstance(place, list) else name
    if isinstance(place[key], tuple):
        place[key] = list(place[key])
    return place[key]
