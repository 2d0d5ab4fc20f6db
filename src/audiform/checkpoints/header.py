"""The header of our own checkpoint format; ``docs/format.md`` is its specification."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

#: The newest version of the format that this package reads.
FORMAT_VERSION = 3

#: The version that is written where nothing newer is used, so that older readers can read it.
PLAIN_VERSION = 1

#: The versions that packed weights and effects came with.
PACKED_VERSION = 2
EFFECT_VERSION = 3

#: ``training["stage"]`` of a network that was pretrained: it separates nothing yet.
PRETRAINING = "pretraining"

#: Under this key of the safetensors metadata the header stands, as JSON.
METADATA_KEY = "audiform"

#: The same for the file of an adapter, which is no checkpoint by itself.
ADAPTER_KEY = "audiform-adapter"


class Licence(BaseModel):
    """What is known of the rights: of the code, of the weights, of the training data.

    Free text, because the honest answer is often a sentence and not an identifier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = "unknown"
    weights: str = "unknown"
    data: str = "unknown"


class PackedWeight(BaseModel):
    """A packed tensor: its shape, its smallest and largest weight, its groups' bits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[PositiveInt, ...]
    range: tuple[float, float]
    least_bits: Annotated[int, Field(ge=1, le=16)]
    most_bits: Annotated[int, Field(ge=1, le=16)]

    @field_validator("shape")
    @classmethod
    def _countable(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) > 8 or math.prod(shape) >= 2**48:
            raise ValueError("no weight has this shape")
        return shape

    @model_validator(mode="after")
    def _in_order(self) -> PackedWeight:
        low, high = self.range
        if not -3.5e38 < low <= high < 3.5e38:
            raise ValueError("the range must be two finite numbers, the smaller first")
        if self.least_bits > self.most_bits:
            raise ValueError("least_bits is greater than most_bits")
        return self


class Quantisation(BaseModel):
    """Which tensors are packed, in groups of how many consecutive weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group_size: Annotated[int, Field(ge=1, le=2**16)]
    weights: dict[str, PackedWeight]


class CheckpointHeader(BaseModel):
    """What a checkpoint says about itself, besides its tensors.

    A separator has ``sources``; an effect has ``knobs`` (none, one or more), each as
    :class:`audiform.knob.Knob` is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format_version: int = PLAIN_VERSION
    architecture: str
    config: dict[str, Any]
    sources: tuple[str, ...] = ()
    knobs: tuple[dict[str, Any], ...] | None = None
    sample_rate: int = Field(gt=0)
    licence: Licence = Licence()
    scores: dict[str, Any] = {}
    training: dict[str, Any] = {}
    quantisation: Quantisation | None = None

    @property
    def is_pretrained(self) -> bool:
        """Whether the weights are there to be trained on, and separate nothing yet."""
        return self.training.get("stage") == PRETRAINING

    @model_validator(mode="after")
    def _known_to_the_version(self) -> CheckpointHeader:
        if self.quantisation is not None and self.format_version < PACKED_VERSION:
            raise ValueError(f"quantisation came with format version {PACKED_VERSION}")
        if self.knobs is not None and self.format_version < EFFECT_VERSION:
            raise ValueError(f"knobs came with format version {EFFECT_VERSION}")
        return self

    @model_validator(mode="after")
    def _separator_or_effect(self) -> CheckpointHeader:
        if self.knobs is None and not self.sources:
            raise ValueError("there are neither sources, of a separator, nor knobs, of an effect")
        if self.knobs is not None and self.sources:
            raise ValueError("there are both sources, of a separator, and knobs, of an effect")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, serialise: SerializerFunctionWrapHandler) -> Any:
        values = serialise(self)
        if self.quantisation is None:
            del values["quantisation"]
        del values["knobs" if self.knobs is None else "sources"]
        return values
