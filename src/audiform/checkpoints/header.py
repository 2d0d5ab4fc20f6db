"""The header of our own checkpoint format; ``docs/format.md`` is its specification."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: The newest version of the format that this package reads, and the one that it writes.
FORMAT_VERSION = 1

#: Under this key of the safetensors metadata the header stands, as JSON.
METADATA_KEY = "audiform"


class Licence(BaseModel):
    """What is known of the rights: of the code, of the weights, of the training data.

    Free text, because the honest answer is often a sentence and not an identifier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = "unknown"
    weights: str = "unknown"
    data: str = "unknown"


class CheckpointHeader(BaseModel):
    """What a checkpoint says about itself, besides its tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format_version: int = FORMAT_VERSION
    architecture: str
    config: dict[str, Any]
    sources: tuple[str, ...]
    sample_rate: int = Field(gt=0)
    licence: Licence = Licence()
    scores: dict[str, Any] = {}
    training: dict[str, Any] = {}
