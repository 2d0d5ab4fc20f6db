"""Can loudness alone tell a foreign second half? Measures of it, and the best threshold on one.

A check of :mod:`audiform.training.next_segment` on one's own songs: a task that a threshold solves
teaches nothing.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from audiform.training.masking import Spectra, frame_energy

#: Frames next to the seam over which levels are compared, besides all.
WINDOWS = (4, 16, 64, 256)

#: Energies below this (-90 dB of the loudest frame) are silence.
FLOOR = 1e-9


def loudness_measures(spectra: Spectra, *, hidden: slice) -> dict[str, Float[Tensor, " batch"]]:
    """Return, by name, measures of what the energy does before and after the ``hidden`` frames.

    Levels, steps between them, how much they move in all and from frame to frame; and the
    sizes of all these without their sign.
    """
    levels = (frame_energy(spectra) + FLOOR).log()
    before, after = levels[:, : hidden.start], levels[:, hidden.stop :]
    whole = before.shape[1]
    measures: dict[str, Tensor] = {}
    for window in [*(size for size in WINDOWS if size < whole), whole]:
        left, right = before[:, -window:].logsumexp(dim=1), after[:, :window].logsumexp(dim=1)
        measures[f"level of {window} frames before"] = left
        measures[f"level of {window} frames after"] = right
        measures[f"step over {window} frames"] = right - left
    measures["dynamics"] = after.std(dim=1) - before.std(dim=1)
    measures["flux"] = after.diff(dim=1).abs().mean(dim=1) - before.diff(dim=1).abs().mean(dim=1)
    sizes = {f"size of {name}": value.abs() for name, value in measures.items()}
    return {**measures, **sizes}


def threshold_accuracy(measure: Float[Tensor, " batch"], answer: Bool[Tensor, " batch"]) -> float:
    """Return how often a threshold is right in the second half of the items.

    It is the one that is right most often in the first half; what is above it may be called
    true or false.
    """
    half = len(measure) // 2
    order = measure[:half].argsort()
    known = answer[:half][order].long()
    seen = known.cumsum(0) - known  # true ones below place k
    right = (known.sum() - seen) + (torch.arange(half) - seen)  # when all from k on are called true
    best, worst = int(right.argmax()), int(right.argmin())
    above = bool(right[best] >= half - right[worst])
    threshold = measure[order[best if above else worst]]
    called = (measure[half:] >= threshold) == above
    return (called == answer[half:]).float().mean().item()
