"""Bags: several networks whose estimates are averaged, as a YAML file of Demucs lists them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from audiform.errors import CheckpointError

#: The largest published bag has 150 bytes.
MAX_BAG_BYTES = 65_536

_SIGNATURE = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]*")


class Bag(BaseModel):
    """Signatures of the members; their weights, a row for each and a column for each source.

    Without ``weights`` all count the same. ``segment`` (seconds) replaces the members' own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...] | None = None
    segment: float | None = None

    @field_validator("models", mode="before")
    @classmethod
    def _signatures(cls, models: Any) -> Any:
        if not isinstance(models, list | tuple) or not models:
            raise ValueError("a list of signatures belongs here")
        for model in models:
            if not isinstance(model, str):
                raise ValueError(f"{model!r} is not a text: put quotes around it")
            if not is_signature(model):
                raise ValueError(f"{model!r} is no signature: letters, digits, _ - . only")
        return models

    @field_validator("segment")
    @classmethod
    def _positive(cls, segment: float | None) -> float | None:
        if segment is not None and not 0 < segment < math.inf:
            raise ValueError("it must be a positive number of seconds")
        return segment

    @model_validator(mode="after")
    def _fits_together(self) -> Bag:
        if self.weights is None:
            return self
        if len(self.weights) != len(self.models):
            raise ValueError(f"{len(self.weights)} rows of weights for {len(self.models)} models")
        if len({len(row) for row in self.weights}) != 1 or not self.weights[0]:
            raise ValueError("the rows of weights have different lengths")
        if not all(math.isfinite(weight) for row in self.weights for weight in row):
            raise ValueError("a weight is not finite")
        if any(sum(column) <= 0 for column in zip(*self.weights, strict=True)):
            raise ValueError("a source has no weight in any model")
        return self


def is_signature(name: str) -> bool:
    """Tell whether ``name`` can be part of a file name and nothing more."""
    return _SIGNATURE.fullmatch(name) is not None


def read_bag(path: str | Path) -> Bag:
    """Read and check a bag file."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BAG_BYTES + 1)
        if len(text) > MAX_BAG_BYTES:
            raise ValueError(f"it has more than {MAX_BAG_BYTES} bytes")
        values = yaml.safe_load(text.decode("utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it holds no table with the key 'models'")
        return Bag.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'bag'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        problems = str(error)[:500]
    raise CheckpointError(
        f"is no bag of models: {problems}; a bag reads `models: ['955717e8']`, with optional "
        "`weights` and `segment`",
        path=path,
    )
