"""Knobs as the command line names them."""

from __future__ import annotations

from typing import Any

from audiform.errors import ConfigError


def parse_knob_range(text: str) -> dict[str, Any]:
    """Read ``NAME:MIN:MAX[:UNIT]``; raises :class:`ConfigError`."""
    parts = text.split(":", 3)
    try:
        name, low, high = parts[0].strip(), float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        raise ConfigError(
            f"--knob takes NAME:MIN:MAX or NAME:MIN:MAX:UNIT, got {text!r}; such as "
            "--knob gain:0:100:%"
        ) from None
    unit = parts[3].strip() if len(parts) > 3 else ""
    return {
        "name": name,
        "unit": unit,
        "minimum": low,
        "maximum": high,
        "default": (low + high) / 2,
    }


def parse_knobs(texts: list[str] | None) -> dict[str, float]:
    """Read ``NAME=VALUE`` texts; raises :class:`ConfigError`."""
    settings: dict[str, float] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        name = name.strip()
        try:
            number = float(value)
        except ValueError:
            equals = ""
        if not name or not equals:
            raise ConfigError(
                f"--knob takes NAME=VALUE, got {text!r}; such as --knob threshold_db=-24"
            )
        if name in settings:
            raise ConfigError(f"--knob {name} was given twice; leave one out")
        settings[name] = number
    return settings
