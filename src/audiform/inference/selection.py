"""Which outputs are made of the stems: all, one against the rest, a residual.

Every output is a weighted sum of the stems and the mixture, so one small matrix says it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from audiform.errors import ConfigError
from audiform.inference.pipeline import StemBlock

OtherMethod = Literal["none", "add", "minus"]


@dataclass(frozen=True)
class StemSelection:
    """Names of the outputs, and their weights over (source 1, ..., source n, mixture)."""

    names: tuple[str, ...]
    weights: Float32[np.ndarray, "outputs sources_and_mixture"]

    def apply(self, block: StemBlock) -> Float32[np.ndarray, "outputs channels time"]:
        """Return the outputs of a block."""
        parts = [*block.stems, block.mixture]
        outputs = np.zeros((len(self.names), *block.mixture.shape), dtype=np.float32)
        for output, weights in zip(outputs, self.weights, strict=True):
            for weight, part in zip(weights, parts, strict=True):
                if weight == 1:
                    output += part
                elif weight:
                    output += weight * part
        return outputs

    @property
    def needed_sources(self) -> tuple[bool, ...]:
        """Tell for each source whether any output needs it."""
        return tuple(bool(used) for used in (self.weights[:, :-1] != 0).any(axis=0))


def select_stems(
    sources: Sequence[str],
    *,
    two_stems: str | None = None,
    other_method: OtherMethod = "add",
    residual: bool = False,
) -> StemSelection:
    """Say which outputs to make.

    Without ``two_stems``: every source. With it: that source, and by ``other_method`` nothing
    more ("none"), ``no_<source>``, the sum of the other sources ("add"), or
    ``minus_<source>``, the mixture less the source ("minus"). ``residual`` adds an output of
    that name: the mixture less all other outputs. Raises :class:`ConfigError` for a source
    that the model does not have.
    """
    unit = np.eye(len(sources) + 1, dtype=np.float32)
    mixture = unit[-1]
    if two_stems is None:
        names, rows = list(sources), [unit[index] for index in range(len(sources))]
    else:
        if two_stems not in sources:
            raise ConfigError(
                f"stem {two_stems!r} was asked for, but the model separates "
                f"{', '.join(sources)}; choose one of these"
            )
        wanted = unit[list(sources).index(two_stems)]
        names, rows = [two_stems], [wanted]
        if other_method == "add":
            names.append(f"no_{two_stems}")
            rows.append(unit[:-1].sum(axis=0) - wanted)
        elif other_method == "minus":
            names.append(f"minus_{two_stems}")
            rows.append(mixture - wanted)
    if residual:
        names.append("residual")
        rows.append(mixture - np.sum(rows, axis=0))
    return StemSelection(names=tuple(names), weights=np.stack(rows))
