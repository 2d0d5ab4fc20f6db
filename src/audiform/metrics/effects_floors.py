"""What a learned effect is to be compared with: what needs no learning.

The dry sound itself, the dry sound at the best level, the best filter of a fixed length, and for
effects with knobs the recording whose knobs are nearest. On compressors such a filter beats
published networks, so no score means much without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.convolve import convolve
from audiform.dsp.least_squares_filter import NormalEquations, normal_equations
from audiform.errors import AudioError
from audiform.knob import Knob, settings_to_network
from audiform.metrics.effects import esr
from audiform.metrics.shapes import require_equal_shapes

FIR_TAPS = 256


def best_gain(*, dry: Float[Tensor, "channels time"], wet: Float[Tensor, "channels time"]) -> float:
    """Return the gain that brings ``dry`` closest to ``wet``; 0 for silence."""
    require_equal_shapes(dry, wet)
    energy = dry.double().square().sum().item()
    return (dry.double() * wet.double()).sum().item() / energy if energy else 0.0


def fitted_fir(
    *,
    dry: Float[Tensor, "channels time"],
    wet: Float[Tensor, "channels time"],
    num_taps: int = FIR_TAPS,
) -> Float[Tensor, " taps"]:
    """Return the causal filter that brings ``dry`` closest to ``wet``, one for all channels.

    Least squares over every sample given, silence assumed before the first. float64. Raises
    :class:`AudioError` for fewer samples than taps.
    """
    require_equal_shapes(dry, wet)
    length = dry.shape[-1]
    if length < num_taps:
        raise AudioError(
            f"a filter of {num_taps} taps was to be fitted to {length} samples; give more sound"
        )
    history = torch.nn.functional.pad(dry, (num_taps - 1, 0))
    sums = [
        normal_equations(own, target, num_taps=num_taps)
        for own, target in zip(history, wet, strict=True)
    ]
    return reduce(NormalEquations.plus, sums).solve()


def nearest_setting(
    settings: Mapping[str, float],
    others: Sequence[Mapping[str, float]],
    knobs: Sequence[Knob],
) -> int:
    """Return which of ``others`` is nearest to ``settings``, each knob in the network's range."""
    if not others:
        raise AudioError("the nearest of no settings was asked for; give at least one")
    wanted = settings_to_network(knobs, settings)
    distances = [(settings_to_network(knobs, other) - wanted).square().sum() for other in others]
    return int(torch.stack(distances).argmin())


def esr_of_floors(
    *,
    dry: Float[Tensor, "channels time"],
    wet: Float[Tensor, "channels time"],
    fitted_share: float = 0.7,
    num_taps: int = FIR_TAPS,
) -> dict[str, float]:
    """Return the ESR of "bypass", "gain" and "fir" over the end of a recording.

    Gain and filter are fitted to the first ``fitted_share`` of it and scored on the rest.
    """
    if not 0.0 < fitted_share < 1.0:
        raise AudioError(f"a share of {fitted_share} was to be fitted; choose between 0 and 1")
    cut = int(dry.shape[-1] * fitted_share)
    gain = best_gain(dry=dry[:, :cut], wet=wet[:, :cut])
    taps = fitted_fir(dry=dry[:, :cut], wet=wet[:, :cut], num_taps=num_taps)
    estimates = {
        "bypass": dry,
        "gain": gain * dry,
        "fir": convolve(dry.double(), taps[None]).to(dry.dtype),
    }
    return {
        name: esr(estimate=estimate[:, cut:], reference=wet[:, cut:]).item()
        for name, estimate in estimates.items()
    }
