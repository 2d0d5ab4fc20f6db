"""JSON files of other programs, read with care and written aside."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiform.checkpoints.file import write_aside
from audiform.errors import CheckpointError


def read_json_table(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; raises :class:`CheckpointError`."""
    try:
        table = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror or error}; check the path", path=path
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"is no JSON ({str(error)[:200]}); fetch the file again", path=path
        ) from error
    if not isinstance(table, dict):
        raise CheckpointError("holds no JSON object; give the file of a model", path=path)
    return table


def finite_tensor(values: Any, *, what: str, path: Path) -> Tensor:
    """Return a list of numbers, or of lists of them, as a tensor of finite float32."""
    try:
        tensor = torch.tensor(values, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"has no list of numbers as {what}; fetch the file again", path=path
        ) from error
    if not torch.isfinite(tensor).all():
        raise CheckpointError(
            f"has infinite or missing numbers in {what}; fetch the file again", path=path
        )
    return tensor


def plain_metadata(table: Any) -> dict[str, Any]:
    """Return what a file says about itself as plain finite values; the rest is left out."""
    if not isinstance(table, Mapping):
        return {}
    return {
        str(name): value
        for name, value in table.items()
        if isinstance(value, str | bool | int)
        or (isinstance(value, float) and math.isfinite(value))
    }


def write_json_table(path: Path, table: Mapping[str, Any]) -> None:
    """Write a JSON object; the same content gives the same bytes."""
    write_aside(path, (json.dumps(table, allow_nan=False) + "\n").encode())
