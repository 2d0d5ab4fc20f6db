"""Going on with a sound that stopped: linear prediction from its end.

An all-pole model is fitted to the last moments by Burg's method (J. P. Burg, "Maximum Entropy
Spectral Analysis", 1975), whose poles lie inside the unit circle, so that nothing grows. How
the level falls is taken out before and put in again, so that tones ring on and die away as they
did. What the model cannot predict, noise, is made anew from its residual. Used to fill gaps in
music since A. J. E. M. Janssen et al., "Adaptive interpolation of discrete-time signals"
(1986); differs in that only the past is known.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

#: Poles at most, and at most this share of the samples that they are fitted to.
MOST_POLES, POLES_PER_SAMPLE = 384, 1 / 3

#: Below this mean square a sound is silent.
SILENT_POWER = 1e-12

#: The level's fall is measured over so many equal parts.
LEVEL_PARTS = 6


def continue_sound(
    past: Float[Tensor, "channels time"], num_samples: int
) -> Float[Tensor, "channels new_time"]:
    """Return ``num_samples`` samples that go on from ``past``, each channel by itself.

    Silence goes on as silence, as does a past of fewer than 8 samples. The same past always
    gives the same samples; they have no gradient.
    """
    rows = past.detach().double().cpu().numpy()
    found = np.stack([_row(row, num_samples) for row in rows])
    return torch.from_numpy(found).to(past)


def _row(past: np.ndarray, num_samples: int) -> np.ndarray:
    poles = min(MOST_POLES, int(len(past) * POLES_PER_SAMPLE))
    if poles < 2 or num_samples < 1 or np.mean(past**2) < SILENT_POWER:
        return np.zeros(num_samples)
    fall = _fall(past)
    level = past * fall ** np.arange(len(past) - 1, -1, -1)  # as if it did not die away
    weights, residual = burg(level, poles)
    excitation = np.sqrt(residual) * np.random.default_rng(0).standard_normal(num_samples)
    joined = np.concatenate([level[-poles:], np.zeros(num_samples)])
    backwards = np.ascontiguousarray(weights[::-1])
    for place in range(num_samples):
        joined[poles + place] = excitation[place] + backwards @ joined[place : place + poles]
    return joined[poles:] * fall ** np.arange(1, num_samples + 1)


def burg(past: np.ndarray, poles: int) -> tuple[np.ndarray, float]:
    """Return what the last samples, the newest first, count in a prediction, and the residual.

    The latter is the mean square of what is not predicted.
    """
    forward, backward = past[1:].copy(), past[:-1].copy()
    weights, residual = np.zeros(0), float(np.mean(past**2))
    for _ in range(poles):
        energy = forward @ forward + backward @ backward
        if energy <= SILENT_POWER * len(forward):
            break
        reflection = 2.0 * (forward @ backward) / energy
        weights = np.concatenate([weights - reflection * weights[::-1], [reflection]])
        residual *= 1.0 - reflection**2
        forward, backward = (
            (forward - reflection * backward)[1:],
            (backward - reflection * forward)[:-1],
        )
    return np.concatenate([weights, np.zeros(poles - len(weights))]), max(residual, 0.0)


def _fall(past: np.ndarray) -> float:
    """Return by which factor the amplitude falls from sample to sample, at most 1."""
    size = len(past) // LEVEL_PARTS
    parts = past[len(past) - size * LEVEL_PARTS :].reshape(LEVEL_PARTS, size)
    level = 0.5 * np.log(np.mean(parts**2, axis=1) + SILENT_POWER)
    slope = np.polyfit(np.arange(LEVEL_PARTS) * size, level, 1)[0]
    return float(np.exp(min(0.0, slope)))
