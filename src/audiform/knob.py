"""``Knob``: a setting of an effect, in the unit a person reads and as a network sees it.

A network gets every knob in [-0.5, 0.5], whatever its unit (Hawley, Colburn and Mimilakis,
"SignalTrain", arXiv:1905.11928). Differs from it in that a knob may be logarithmic: equal steps
of the network's number are then equal ratios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self, TypeVar

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from audiform.errors import ConfigError

#: The network's range of every knob is [-HALF_RANGE, HALF_RANGE].
HALF_RANGE = 0.5

#: How far beyond its range a value may lie and count as its end: rounding on the way there.
RANGE_TOLERANCE = 1e-6

Number = TypeVar("Number", float, Tensor)


class Knob(BaseModel):
    """A knob: ``name`` ends in its unit, as in ``threshold_db``; ``unit`` is what is shown.

    ``scale`` "log" needs a positive ``minimum``. Raises :class:`pydantic.ValidationError` for a
    range without extent or a default outside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    unit: str = ""
    minimum: float
    maximum: float
    default: float
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _has_extent(self) -> Self:
        if not self.name.isidentifier():
            raise ValueError(f"knob {self.name!r} is no name that Python could call it by")
        if not self.minimum < self.maximum:
            raise ValueError(f"{self.name} ranges from {self.minimum} to {self.maximum}, upwards")
        if self.scale == "log" and self.minimum <= 0:
            raise ValueError(f"{self.name} is logarithmic from {self.minimum}; it must be above 0")
        if not self.minimum <= self.default <= self.maximum:
            raise ValueError(
                f"{self.name} = {self.default} by default, outside [{self.minimum}, {self.maximum}]"
            )
        return self

    def to_network(self, value: Number) -> Number:
        """Return where ``value`` lies in the network's range; outside its own it goes beyond.

        >>> ratio = Knob(name="ratio", minimum=1.0, maximum=5.0, default=2.0)
        >>> ratio.to_network(2.0)
        -0.25
        """
        if self.scale == "linear":
            return (value - self.minimum) / (self.maximum - self.minimum) - HALF_RANGE
        share = value / self.minimum
        octaves = share.log() if isinstance(share, Tensor) else math.log(share)
        return octaves / math.log(self.maximum / self.minimum) - HALF_RANGE

    def from_network(self, position: Number) -> Number:
        """Return the value at ``position`` of the network's range, in this knob's unit."""
        share = position + HALF_RANGE
        if self.scale == "linear":
            return self.minimum + share * (self.maximum - self.minimum)
        return self.minimum * (self.maximum / self.minimum) ** share

    def checked(self, value: float) -> float:
        """Return ``value``; raises :class:`ConfigError` where it is outside the range."""
        slack = RANGE_TOLERANCE * (self.maximum - self.minimum)
        if not self.minimum - slack <= value <= self.maximum + slack:
            raise ConfigError(
                f"{self.name} = {value:g} was asked for, it goes from {self.minimum:g} to "
                f"{self.maximum:g}{' ' * bool(self.unit)}{self.unit}; choose a value in between"
            )
        return min(max(value, self.minimum), self.maximum)


def complete_settings(knobs: Sequence[Knob], given: Mapping[str, float]) -> dict[str, float]:
    """Return a value for every knob, in their order: the one given, or the default.

    Raises :class:`ConfigError` for an unknown name or a value outside its range.
    """
    names = [knob.name for knob in knobs]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ConfigError(
            f"there is no knob {', '.join(unknown)}; "
            f"{'choose from ' + ', '.join(names) if names else 'this effect has none'}"
        )
    return {knob.name: knob.checked(given.get(knob.name, knob.default)) for knob in knobs}


def settings_to_network(
    knobs: Sequence[Knob], settings: Mapping[str, float]
) -> Float[Tensor, " knob"]:
    """Return ``settings``, one of each knob, as a network wants them."""
    return torch.tensor([knob.to_network(float(settings[knob.name])) for knob in knobs])


def settings_from_network(
    knobs: Sequence[Knob], positions: Float[Tensor, " knob"]
) -> dict[str, float]:
    """Return the settings that a network's ``positions`` stand for, by name."""
    if len(positions) != len(knobs):
        raise ConfigError(f"{len(positions)} positions were given for {len(knobs)} knobs")
    return {
        knob.name: knob.from_network(position)
        for knob, position in zip(knobs, positions.tolist(), strict=True)
    }
