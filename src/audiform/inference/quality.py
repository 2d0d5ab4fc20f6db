"""What ``--quality`` stands for: how much segments share, passes, precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from audiform.errors import ConfigError


@dataclass(frozen=True)
class Quality:
    """Settings that trade time for quality; each can be replaced by its own option.

    ``join_share``: the overlap of segments, or the context around them, as a share of what the
    model was made for. ``shifts`` as the Separator takes them.
    """

    join_share: float = 1.0
    shifts: int | Literal["half"] = 0
    precision: str = "auto"


#: Without any, the reference: balanced, in fp32.
REFERENCE = Quality(precision="fp32")

QUALITIES = {
    "fast": Quality(join_share=0.4),
    "balanced": Quality(),
    "best": Quality(shifts="half", precision="fp32"),
}


def find_quality(name: str | None) -> Quality:
    """Return the settings of a name, the reference for None; raises :class:`ConfigError`."""
    if name is None:
        return REFERENCE
    if name not in QUALITIES:
        raise ConfigError(f"quality {name!r} was asked for; use {', '.join(QUALITIES)}")
    return QUALITIES[name]
