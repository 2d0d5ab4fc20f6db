"""How well an effect that undoes something did: what it left, and where it put notes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.onset_strength import onset_strength
from audiform.errors import AudioError
from audiform.metrics.shapes import require_equal_shapes

#: The window in which an attack is seen, and the steps in which it is looked for.
ONSET_WINDOW = 512
ONSET_HOP = 32


def damage_left(
    *,
    estimate: Float[Tensor, "channels time"],
    clean: Float[Tensor, "channels time"],
    damage: Float[Tensor, "channels time"],
) -> float:
    """Return how much of ``damage`` is in an estimate of ``clean``: 1 all of it, 0 nothing.

    The estimate is taken for a mix of both, and the two shares are fitted to it by least
    squares; the damage's is given relative to the clean sound's. 1 - strength is what was asked
    for. What the estimate has besides, :func:`audiform.metrics.separation.si_sdr` counts. Raises
    :class:`AudioError` where the shapes differ, or where both sounds are silent or alike.
    """
    require_equal_shapes(estimate, clean)
    require_equal_shapes(damage, clean)
    parts = torch.stack([clean.double().flatten(), damage.double().flatten()])
    gram = parts @ parts.T
    if torch.linalg.det(gram) <= 1e-12 * gram[0, 0] * gram[1, 1]:
        raise AudioError(
            "the clean sound and its damage cannot be told apart (one is silent, or they are "
            "alike); score another piece"
        )
    share = torch.linalg.solve(gram, parts @ estimate.double().flatten())
    return (share[1] / share[0]).item()


def onset_errors_ms(
    *,
    estimate: Float[Tensor, "channels time"],
    reference: Float[Tensor, "channels time"],
    onsets: Sequence[int],
    sample_rate: int,
    reach_seconds: float = 0.17,
) -> list[float]:
    """Return for each of the reference's ``onsets`` (samples) how late it is in the estimate.

    The steepest rise within ``reach_seconds`` of an onset is looked for in both signals in the
    same way, and their distance is the error: negative where the estimate is early. Raises
    :class:`AudioError` where the shapes differ or an onset is outside.
    """
    require_equal_shapes(estimate, reference)
    reach = round(reach_seconds * sample_rate / ONSET_HOP)
    curves = [
        onset_strength(audio, sample_rate=sample_rate, n_fft=ONSET_WINDOW, hop_length=ONSET_HOP)
        for audio in (estimate, reference)
    ]
    errors = []
    for onset in onsets:
        if not 0 <= onset < reference.shape[-1]:
            raise AudioError(
                f"an onset at sample {onset} was given, the sound has {reference.shape[-1]}"
            )
        frame = round(onset / ONSET_HOP)
        near = slice(max(0, frame - reach), frame + reach + 1)
        ours, theirs = (int(curve[near].sum(dim=-1).argmax()) for curve in curves)
        errors.append(1000.0 * (ours - theirs) * ONSET_HOP / sample_rate)
    return errors


def matched_onsets(found: Sequence[float], true: Sequence[float], *, within: float) -> list[float]:
    """Return how late each onset is that was found ``within`` a true one, each used once.

    Both in the order of time and in one unit; the pairs that fit best are made first.
    """
    pairs = sorted(
        (abs(here - there), number, other)
        for number, here in enumerate(found)
        for other, there in enumerate(true)
        if abs(here - there) <= within
    )
    used: set[int] = set()
    taken: set[int] = set()
    errors = []
    for _, number, other in pairs:
        if number not in used and other not in taken:
            used.add(number)
            taken.add(other)
            errors.append(found[number] - true[other])
    return errors
