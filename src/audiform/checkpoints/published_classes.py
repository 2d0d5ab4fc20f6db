"""The published classes that can be read and written, each with its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from audiform.checkpoints import demucs_names, hdemucs_names, htdemucs_names
from audiform.models.demucs import DemucsConfig
from audiform.models.hdemucs import HDemucsConfig
from audiform.models.htdemucs import HTDemucsConfig


class PublishedClass(NamedTuple):
    """A class of the published package, as ours.

    ``config_from_options`` and ``options_from_config`` turn its keyword arguments into our
    configuration and back; ``parameter_prefixes`` gives the beginning of each parameter's
    published name and of ours.
    """

    title: str
    architecture: str
    config: type[BaseModel]
    config_from_options: Callable[[Mapping[str, Any]], BaseModel]
    options_from_config: Callable[[Any], dict[str, Any]]
    parameter_prefixes: Callable[[Any], dict[str, str]]


def _entry(architecture: str, config: type[BaseModel], names: Any) -> PublishedClass:
    return PublishedClass(
        title=names.OPTIONS.title,
        architecture=architecture,
        config=config,
        config_from_options=names.config_from_options,
        options_from_config=names.options_from_config,
        parameter_prefixes=names.parameter_prefixes,
    )


_HYBRID = _entry("hdemucs", HDemucsConfig, hdemucs_names)

#: Name in a file -> class. Of two names of one class, files are written with the first.
CLASSES: Mapping[str, PublishedClass] = {
    "demucs.htdemucs.HTDemucs": _entry("htdemucs", HTDemucsConfig, htdemucs_names),
    "demucs.hdemucs.HDemucs": _HYBRID,
    "demucs.wdemucs.WDemucs": _HYBRID,  # an older name
    "demucs.demucs.Demucs": _entry("demucs", DemucsConfig, demucs_names),
}
