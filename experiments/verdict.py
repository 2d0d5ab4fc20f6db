"""What three seeds say of a claim: it holds, it does not, or the seeds differ more than the arms.

Decided before the runs: an arm is better where its worst seed beats the other's best. Were
there no difference, three seeds against three would fall so once in ten times, one way or the
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

Verdict = Literal["holds", "does not hold", "undecided"]


@dataclass(frozen=True)
class Finding:
    """Losses of the arm that should be better over those of the other: 0.95 is 5 % less.

    ``seeds_for`` counts the seeds, pair by pair, that speak for the claim.
    """

    verdict: Verdict
    ratio: float
    seeds_for: int
    num_seeds: int


def judge(*, better: Sequence[float], than: Sequence[float], or_equal: bool = False) -> Finding:
    """Hold the losses of two arms, by seed, against a claim about them."""
    verdict: Verdict = "undecided"
    if max(better) < min(than):
        verdict = "holds"
    elif min(better) > max(than):
        verdict = "does not hold"
    elif or_equal:
        verdict = "holds"
    return Finding(
        verdict=verdict,
        ratio=fmean(better) / fmean(than),
        seeds_for=sum(a < b for a, b in zip(better, than, strict=True)),
        num_seeds=len(better),
    )
