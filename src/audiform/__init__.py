"""audiform: neural audio-to-audio models with attention.

The public names are imported on first use, so that ``import audiform`` and
``audiform --help`` stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from audiform.audio import Audio
    from audiform.checkpoints import list_models, load_model
    from audiform.inference.effect import Effect
    from audiform.inference.separator import Separator, Stems

_PUBLIC = {
    "Audio": "audiform.audio",
    "Effect": "audiform.inference.effect",
    "Separator": "audiform.inference.separator",
    "Stems": "audiform.inference.separator",
    "list_models": "audiform.checkpoints",
    "load_model": "audiform.checkpoints",
}

__all__ = ["Audio", "Effect", "Separator", "Stems", "__version__", "list_models", "load_model"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'audiform' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
