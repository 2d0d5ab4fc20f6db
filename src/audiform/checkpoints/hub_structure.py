"""Nested states in the hub layout: tensors in safetensors, their nesting as JSON.

The metadata's ``structure`` is a tree: ``{"_tensor": name}``, ``{"_dict": [[key, node], ...]}``,
``{"_list": [node, ...]}``, ``{"_tuple": [node, ...]}``, ``{"_class": dotted name}``, or a plain
value. A class is looked up in a fixed table and stays a name.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from audiform.checkpoints.quantised import QUANTISERS
from audiform.checkpoints.restricted_pickle import GlobalName
from audiform.errors import CheckpointError


def nested_state(structure: str, tensors: Mapping[str, Tensor], *, path: Path) -> dict[Any, Any]:
    """Return the state that ``structure`` builds of ``tensors``.

    Raises :class:`CheckpointError` naming ``path`` for whatever is malformed.
    """
    try:
        state = _built(json.loads(structure), tensors)
        if not isinstance(state, dict):
            raise ValueError("it is no table")
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"has a 'structure' in its metadata that makes no state ({str(error)[:300]}); fetch "
            "it again",
            path=path,
        ) from error
    return state


def _built(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(node, list):
        raise ValueError("a list stands where a node belongs")
    if not isinstance(node, dict):
        return node
    if len(node) != 1:
        raise ValueError(f"a node has the keys {reprlib.repr(sorted(node))}")
    ((kind, value),) = node.items()
    match kind, value:
        case "_tensor", str():
            if value not in tensors:
                raise ValueError(f"the tensor {reprlib.repr(value)} is missing")
            return tensors[value]
        case "_class", str():
            if value not in QUANTISERS:
                raise ValueError(f"the class {reprlib.repr(value)} is not known")
            return GlobalName(value)
        case "_list", list():
            return [_built(item, tensors) for item in value]
        case "_tuple", list():
            return tuple(_built(item, tensors) for item in value)
        case "_dict", list():
            return dict(_pair(item, tensors) for item in value)
    raise ValueError(f"the node {reprlib.repr(node)} is not known")


def _pair(item: Any, tensors: Mapping[str, Tensor]) -> tuple[str, Any]:
    match item:
        case [str(key), node]:
            return key, _built(node, tensors)
    raise ValueError("a table has an entry that is no pair")
