"""The filter that brings one signal closest to another, from sums over any stretches of both."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.dsp.fast_length import fast_length

#: Added to the diagonal, as a share of the dry sound's energy: a sine alone fits many filters.
RIDGE = 1e-9


class NormalEquations(NamedTuple):
    """What least squares need to know of a stretch; those of several stretches add up.

    ``gram`` is the sum over time of x[n - i] x[n - j], ``cross`` that of x[n - i] y[n],
    ``energy`` that of y[n]².
    """

    gram: Float[Tensor, "taps taps"]
    cross: Float[Tensor, " taps"]
    energy: Float[Tensor, ""]

    def plus(self, other: NormalEquations) -> NormalEquations:
        """Return the sums over both."""
        return NormalEquations(*(a + b for a, b in zip(self, other, strict=True)))

    def solve(self, ridge: float = RIDGE) -> Float[Tensor, " taps"]:
        """Return the filter; zeros where there is no sound."""
        scale = self.gram[0, 0].clamp(min=1e-30)
        return torch.linalg.solve(
            self.gram + ridge * scale * torch.eye(len(self.gram)).to(self.gram), self.cross
        )

    def error(self, taps: Float[Tensor, " taps"]) -> float:
        """Return the energy of what the filter leaves, as a share of that of y."""
        left = self.energy - 2 * taps @ self.cross + taps @ self.gram @ taps
        return float(left / self.energy.clamp(min=1e-30))


def normal_equations(
    dry: Float[Tensor, " history_and_time"],
    wet: Float[Tensor, " time"],
    *,
    num_taps: int,
    beside: Float[Tensor, "signal time"] | None = None,
) -> NormalEquations:
    """Return the sums over a stretch; ``dry`` begins ``num_taps`` - 1 samples before ``wet``.

    ``beside`` are further signals that may be mixed in; their weights follow the taps.

    The first row and ``cross`` are correlations; next to the diagonal what enters at the
    beginning comes and what is at the end goes: G[i + 1, j + 1] = G[i, j] + x[s - 1 - i]
    x[s - 1 - j] - x[e - 1 - i] x[e - 1 - j] for a stretch from s to before e. float64.
    """
    x, y = dry.double(), wet.double()
    past = num_taps - 1
    own = x[past:]
    n_fft = fast_length(len(x) + num_taps)
    spectrum = torch.fft.rfft(x, n=n_fft)

    def correlated(signal: Tensor) -> Tensor:
        # lags from `past` down: signal[n] stands `past` samples further on in `x`
        product = spectrum * torch.fft.rfft(signal, n=n_fft).conj()
        return torch.fft.irfft(product, n=n_fft)[..., :num_taps].flip(-1)

    gram = x.new_zeros(num_taps, num_taps)
    gram[0] = gram[:, 0] = correlated(own)
    entering, leaving = x[:past].flip(0), x[len(x) - past :].flip(0)
    change = torch.outer(entering, entering) - torch.outer(leaving, leaving)
    for row in range(1, num_taps):
        gram[row, 1:] = gram[row - 1, :-1] + change[row - 1]
    if beside is None or not len(beside):
        return NormalEquations(gram, correlated(y), y.square().sum())
    z = beside.double()
    across = correlated(z)
    whole = torch.cat([torch.cat([gram, across.T], 1), torch.cat([across, z @ z.T], 1)])
    return NormalEquations(whole, torch.cat([correlated(y), z @ y]), y.square().sum())
