"""Settings of an effect, written into file names after ``__``."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: ``gain050``, ``ratio=4``, ``-20.5``: a name or none, a number.
_KNOB = re.compile(r"(?P<name>[A-Za-z][A-Za-z_ ]*?)?[=_ ]?(?P<value>[-+]?\d*\.?\d+(?:e[-+]?\d+)?)")


def parse_knobs(text: str, names: Sequence[str] = ()) -> dict[str, float]:
    """Return the knobs in ``text``, values separated by ``__``, by name.

    Values without a name of their own get ``names`` in turn, or knob1, knob2, ... where there
    are none. Raises :class:`ValueError` that says what is wrong.

    >>> parse_knobs("gain050__-20")
    {'gain': 50.0, 'knob2': -20.0}
    """
    parts = text.split("__") if text else []
    if names and len(parts) != len(names):
        raise ValueError(
            f"has {len(parts)} knob values for {len(names)} knobs ({', '.join(names)})"
        )
    knobs: dict[str, float] = {}
    for index, part in enumerate(parts):
        match = _KNOB.fullmatch(part)
        if match is None:
            raise ValueError(f"has the knob value {part!r}, which is no number")
        default = names[index] if names else match["name"] or f"knob{index + 1}"
        knobs[default.strip(" _")] = float(match["value"])
    return knobs
