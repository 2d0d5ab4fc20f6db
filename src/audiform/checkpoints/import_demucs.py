"""Packages of Demucs turned into our checkpoints.

Two layouts: ``.th`` (``torch.save`` of ``{klass, args, kwargs, state, training_args}``) and
the hub layout of demucs 4.1.0 (safetensors with ``klass``, ``args`` and ``kwargs`` as JSON in
the metadata). The class named in a file is looked up in a table here and never imported.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from torch import Tensor

from audiform.checkpoints.catalog import licence_of_signature
from audiform.checkpoints.file import (
    BUILDING_BYTES,
    Checkpoint,
    as_float32,
    build_untrained,
    listing,
    read_tensors,
)
from audiform.checkpoints.header import CheckpointHeader
from audiform.checkpoints.hub_structure import nested_state
from audiform.checkpoints.published_classes import CLASSES, PublishedClass
from audiform.checkpoints.published_names import renamed
from audiform.checkpoints.published_order import in_published_order
from audiform.checkpoints.quantised import MAX_UNPACKED_RATIO, unpack_quantised
from audiform.checkpoints.restricted_pickle import GlobalName, StoredTensor
from audiform.checkpoints.safetensors_metadata import read_safetensors_metadata
from audiform.checkpoints.torch_file import TorchFile, open_torch_file
from audiform.errors import CheckpointError, ConfigError

#: Positional arguments of the published classes come in this order.
_POSITIONAL = ("sources", "audio_channels", "channels")


def read_demucs(path: str | Path) -> Checkpoint:
    """Read a Demucs package of either layout as one of our checkpoints."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return _import_hub(path)
    return _import_th(path)


def read_demucs_header(path: str | Path) -> CheckpointHeader:
    """Return what a Demucs package of either layout says about itself; its weights stay unread."""
    path = Path(path)
    if path.suffix == ".safetensors":
        published, config = _hub_class(path, read_safetensors_metadata(path))
        return _header(published, config, path)
    with open_torch_file(path) as file:
        published, config, _ = _package(file)
        return _header(published, config, path)


def _package(file: TorchFile) -> tuple[PublishedClass, Any, Any]:
    """Return the class of a package, its configuration, and its weights as they are stored."""
    package, path = file.content, file.path
    if not isinstance(package, dict) or not {"klass", "state"} <= package.keys():
        raise CheckpointError(
            "is a file of torch.save, but no Demucs package (it has no 'klass' and 'state'); "
            "give the released .th file",
            path=path,
        )
    klass = package["klass"]
    published = _class(klass.name if isinstance(klass, GlobalName) else klass, path)
    config = _config(published, package.get("args", ()), package.get("kwargs", {}), path)
    return published, config, package["state"]


def _import_th(path: Path) -> Checkpoint:
    with open_torch_file(path) as file:
        published, config, stored = _package(file)
        if isinstance(stored, dict) and stored.get("__quantized"):
            weights = _unpacked(published, config, stored, tensor=_tensors_of(file), path=path)
        else:
            weights = _stored_state(file, stored)
        return _checkpoint(published, config, weights, path)


def _stored_state(file: TorchFile, state: Any) -> dict[str, Tensor]:
    if not isinstance(state, dict):
        raise CheckpointError("has weights that are no table; fetch it again", path=file.path)
    odd = [str(name) for name, value in state.items() if not isinstance(value, StoredTensor)]
    if odd:
        raise CheckpointError(
            f"has entries among its weights that are no tensors: {listing(odd)}; use the file "
            "as it was released",
            path=file.path,
        )
    return {str(name): as_float32(file.tensor(value)) for name, value in state.items()}


def _tensors_of(file: TorchFile) -> Callable[[Any], Tensor | None]:
    def tensor(value: Any) -> Tensor | None:
        return file.tensor(value) if isinstance(value, StoredTensor) else None

    return tensor


def _unpacked(
    published: PublishedClass,
    config: Any,
    state: Mapping[Any, Any],
    *,
    tensor: Callable[[Any], Tensor | None],
    path: Path,
) -> dict[str, Tensor]:
    """Return the weights of a quantised state by published name.

    The state has neither names nor shapes, so a network is built that has them; it may take
    as much memory as the file can possibly unpack to.
    """
    limit_bytes = MAX_UNPACKED_RATIO * path.stat().st_size + BUILDING_BYTES
    network = build_untrained(published.architecture, config, limit_bytes=limit_bytes, path=path)
    back = {ours: theirs for theirs, ours in published.parameter_prefixes(config).items()}
    shapes = {
        str(renamed(name, back)): parameter.shape for name, parameter in network.named_parameters()
    }
    ordered = {name: shapes[name] for name in in_published_order(shapes)}
    return unpack_quantised(state, ordered, tensor=tensor, path=path)


def _hub_class(path: Path, metadata: Mapping[str, str]) -> tuple[PublishedClass, Any]:
    """Return the class that a hub file's metadata names, and its configuration."""
    published = _class(metadata.get("klass"), path)
    try:
        args = _decoded(json.loads(metadata.get("args", "[]")))
        kwargs = _decoded(json.loads(metadata.get("kwargs", "{}")))
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(
            f"has arguments in its metadata that cannot be read ({error}); fetch it again",
            path=path,
        ) from error
    return published, _config(published, args, kwargs, path)


def _import_hub(path: Path) -> Checkpoint:
    metadata = read_safetensors_metadata(path)
    published, config = _hub_class(path, metadata)
    weights = read_tensors(path)
    if "structure" in metadata:
        state = nested_state(metadata["structure"], weights, path=path)
        weights = _unpacked(published, config, state, tensor=_if_tensor, path=path)
    return _checkpoint(published, config, weights, path)


def _if_tensor(value: Any) -> Tensor | None:
    return value if isinstance(value, Tensor) else None


def _decoded(value: Any) -> Any:
    """Return JSON with ``{"_type": "fraction", ...}`` turned into fractions."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(int(value["numerator"]), int(value["denominator"]))
        return {name: _decoded(item) for name, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _class(name: Any, path: Path) -> PublishedClass:
    if not isinstance(name, str) or name not in CLASSES:
        raise CheckpointError(
            f"says it is a {reprlib.repr(name)}, and the classes known here are "
            f"{', '.join(CLASSES)}; use a released Demucs file",
            path=path,
        )
    return CLASSES[name]


def _config(published: PublishedClass, args: Any, kwargs: Any, path: Path) -> BaseModel:
    if not isinstance(args, tuple | list) or len(args) > len(_POSITIONAL):
        raise CheckpointError(
            f"has positional arguments that {published.title} does not take: "
            f"{reprlib.repr(args)}; use the file as it was released",
            path=path,
        )
    if not isinstance(kwargs, dict) or not all(isinstance(name, str) for name in kwargs):
        raise CheckpointError(
            "has keyword arguments that are no table of names; use the file as it was released",
            path=path,
        )
    options = dict(zip(_POSITIONAL, args, strict=False)) | kwargs
    try:
        return published.config_from_options(options)
    except ConfigError as error:
        raise CheckpointError(f"cannot be imported: {error}", path=path) from None
    except (ValidationError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(
            f"cannot be imported: its options do not make {published.title} "
            f"({str(error)[:500]}); use the file as it was released",
            path=path,
        ) from error


def _checkpoint(
    published: PublishedClass, config: Any, state: Mapping[str, Tensor], path: Path
) -> Checkpoint:
    prefixes = published.parameter_prefixes(config)
    names = {name: renamed(name, prefixes) for name in state}
    unknown = [name for name, ours in names.items() if ours is None]
    if unknown:
        raise CheckpointError(
            f"has weights that {published.title} of these options does not have: "
            f"{listing(unknown)}; use the file as it was released",
            path=path,
        )
    weights = {str(names[name]): tensor for name, tensor in state.items()}
    header = _header(published, config, path)
    return Checkpoint(published.architecture, config, weights, header, path)


def _header(published: PublishedClass, config: Any, path: Path) -> CheckpointHeader:
    return CheckpointHeader(
        architecture=published.architecture,
        config=config.model_dump(mode="json"),
        sources=config.sources,
        sample_rate=config.sample_rate,
        licence=licence_of_signature(path.stem.partition("-")[0]),
        training={"imported_from": path.name},
    )
