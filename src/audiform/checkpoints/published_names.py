"""What the tables of the published classes have in common: options, layers, renaming.

Published names: the package ``demucs`` 4.1.0. Each class has a module of its own beside this
one, with tables that are read in one direction by the importer and in the other by the exporter.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import BaseModel

from audiform.errors import ConfigError

#: Beginnings of parameter names, published and ours; # is a number.
Names = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OptionTable:
    """The keyword arguments of a published class and what becomes of them.

    ``renamed``: published option, our field, the published default; both mean the same.
    ``fixed``: options that our network knows in one value only. ``ignored``: options that
    change nothing at inference, and the reason. ``own``: the published defaults of the options
    that the class's module converts itself.
    """

    title: str
    renamed: tuple[tuple[str, str, Any], ...]
    fixed: Mapping[str, Any]
    ignored: Mapping[str, str]
    own: Mapping[str, Any]

    def read(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return values of our fields, and the options that the class converts itself.

        Raises :class:`ConfigError` for an option that is unknown and not off, or that our
        network does not have in this value.
        """
        ours = {name: field for name, field, _ in self.renamed}
        values: dict[str, Any] = {field: default for _, field, default in self.renamed}
        own = dict(self.own)
        for name, value in options.items():
            if name in ours:
                values[ours[name]] = value
            elif name == "sources":
                values["sources"] = tuple(value)
            elif name in own:
                own[name] = value
            elif name in self.fixed:
                self._check_fixed(name, value)
            elif name not in self.ignored and not _is_off(value):
                raise ConfigError(
                    f"it has the option {name} = {reprlib.repr(value)}, which {self.title} of "
                    "audiform does not know; install a newer audiform"
                )
        if "sources" not in values:
            raise ConfigError("it names no sources; use the file as it was released")
        return values, own

    def write(self, config: BaseModel) -> dict[str, Any]:
        """Return the published names and values of the renamed options."""
        return {name: getattr(config, field) for name, field, _ in self.renamed}

    def _check_fixed(self, name: str, value: Any) -> None:
        expected = self.fixed[name]
        if value == expected or (expected is None and not value):
            return
        raise ConfigError(
            f"it has the option {name} = {reprlib.repr(value)}, and {self.title} of audiform "
            f"exists only with {name} = {expected!r}; use it with the package that wrote it"
        )


def _is_off(value: Any) -> bool:
    """Tell whether an option is switched off: then it does not matter that it is unknown."""
    return value is None or (isinstance(value, bool | int | float | str | list) and not value)


def whole_samples(segment: Any, sample_rate: Any) -> Any:
    """Return a segment given as a float as the fraction that has as many samples."""
    if isinstance(segment, float) and isinstance(sample_rate, int):
        return Fraction(int(segment * sample_rate), sample_rate)
    return segment


def branches_of_mode(mode: int) -> dict[str, bool]:
    """Return our fields for ``dconv_mode``: 1 in encoder layers, 2 in decoder layers, 3 both."""
    return {"encoder_branches": bool(mode & 1), "decoder_branches": bool(mode & 2)}


def branch_names(
    published: str, *, depth: int, lstm: bool = False, attention: bool = False
) -> Names:
    """Return the names of the residual branches of a layer, ``published`` there."""
    steps: list[tuple[str, str]] = [("0.", "0."), ("1.", "1.")]
    after = 3
    if lstm:
        steps += [(f"{after}.lstm.", f"{after}.lstm."), (f"{after}.linear.", f"{after}.output.")]
        after += 1
    if attention:
        steps += [
            (f"{after}.query.", f"{after}.query."),
            (f"{after}.key.", f"{after}.key."),
            (f"{after}.content.", f"{after}.value."),
            (f"{after}.query_decay.", f"{after}.decay."),
            (f"{after}.proj.", f"{after}.output."),
        ]
        after += 1
    steps += [(f"{step}.", f"{step}.") for step in (after, after + 1)]
    steps.append((f"{after + 3}.scale", f"{after + 3}.gain"))
    return tuple(
        (f"{published}layers.{branch}.{theirs}", f"branches.branches.{branch}.{ours}")
        for branch in range(depth)
        for theirs, ours in steps
    )


#: Layers of the hybrid networks, without their residual branches.
HYBRID_ENCODER_LAYER: Names = (
    ("conv.", "convolution."),
    ("norm1.", "convolution_norm."),
    ("rewrite.", "gate."),
    ("norm2.", "gate_norm."),
)
HYBRID_DECODER_LAYER: Names = (
    ("conv_tr.", "convolution."),
    ("norm2.", "convolution_norm."),
    ("rewrite.", "gate."),
    ("norm1.", "gate_norm."),
)


def within(published: str, ours: str, layer: Names) -> dict[str, str]:
    """Return the names of a layer with what comes before them."""
    return {published + theirs: ours + mine for theirs, mine in layer}


def renamed(name: str, prefixes: Mapping[str, str]) -> str | None:
    """Return ``name`` with its beginning replaced, or None where no beginning fits."""
    for end in range(len(name), 0, -1):
        if name[:end] in prefixes:
            return prefixes[name[:end]] + name[end:]
    return None
