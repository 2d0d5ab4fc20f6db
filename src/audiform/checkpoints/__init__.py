"""Checkpoints: our own file format, the released models by name, and the formats of others.

The names below are imported on first use: the list of models needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiform.checkpoints.catalog import CATALOG, CatalogEntry
    from audiform.checkpoints.download import cache_folder
    from audiform.checkpoints.effect_export import export_effect
    from audiform.checkpoints.effect_formats import EffectFormat
    from audiform.checkpoints.export_demucs import export_hub, export_th
    from audiform.checkpoints.file import (
        Checkpoint,
        build_model,
        read_checkpoint,
        write_checkpoint,
    )
    from audiform.checkpoints.header import CheckpointHeader, Licence
    from audiform.checkpoints.import_demucs import read_demucs
    from audiform.checkpoints.import_signaltrain import read_signaltrain
    from audiform.checkpoints.model_package import (
        Member,
        ModelPackage,
        convert,
        describe,
        list_models,
        load_model,
        read_any,
        resolve,
        verify,
    )
    from audiform.checkpoints.nam_file import read_nam
    from audiform.checkpoints.recurrent_json import read_guitarml

_PUBLIC = {
    "CATALOG": "catalog",
    "CatalogEntry": "catalog",
    "Checkpoint": "file",
    "CheckpointHeader": "header",
    "Licence": "header",
    "Member": "model_package",
    "ModelPackage": "model_package",
    "build_model": "file",
    "cache_folder": "download",
    "convert": "model_package",
    "describe": "model_package",
    "EffectFormat": "effect_formats",
    "export_effect": "effect_export",
    "export_hub": "export_demucs",
    "export_th": "export_demucs",
    "list_models": "model_package",
    "load_model": "model_package",
    "read_any": "model_package",
    "read_checkpoint": "file",
    "read_demucs": "import_demucs",
    "read_guitarml": "recurrent_json",
    "read_nam": "nam_file",
    "read_signaltrain": "import_signaltrain",
    "resolve": "model_package",
    "verify": "model_package",
    "write_checkpoint": "file",
}

__all__ = [
    "CATALOG",
    "CatalogEntry",
    "Checkpoint",
    "CheckpointHeader",
    "EffectFormat",
    "Licence",
    "Member",
    "ModelPackage",
    "build_model",
    "cache_folder",
    "convert",
    "describe",
    "export_effect",
    "export_hub",
    "export_th",
    "list_models",
    "load_model",
    "read_any",
    "read_checkpoint",
    "read_demucs",
    "read_guitarml",
    "read_nam",
    "read_signaltrain",
    "resolve",
    "verify",
    "write_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
