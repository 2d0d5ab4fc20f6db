"""A causal filter whose shape is mixed by settings, carried from block to block.

Some hundred taps, and tails that fade exponentially: coupling capacitors and transformers turn
the phase of low notes for longer than taps could reach.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.dsp.convolve import convolve
from audiform.nn.causal_convolution import SHORT_BLOCK
from audiform.nn.envelope import smooth
from audiform.nn.settled import SettledFilter, SettledSmoother

#: Weights are taps divided by this: an optimiser that moves every weight by as much as the others'
#: would otherwise drown a fitted filter in noise.
TAP_UNIT = 0.03

#: Times of the shortest and the longest tail.
TAIL_SECONDS = (0.0015, 0.2)


class SettableFilter(nn.Module):
    """``taps`` of the filter, plus ``shapes`` (as many as asked for), each times a setting.

    Both in units of :data:`TAP_UNIT`; behind the taps stand the weights of the tails, each of
    which has an impulse response of norm one, as a tap has.
    """

    tail_rates: Tensor
    tail_units: Tensor

    def __init__(
        self, num_taps: int, num_shapes: int, *, num_tails: int = 0, sample_rate: int = 44100
    ) -> None:
        super().__init__()
        self.num_taps = num_taps
        self.taps = nn.Parameter(torch.zeros(num_taps + num_tails))
        self.shapes = nn.Parameter(torch.randn(num_shapes, num_taps + num_tails) / num_taps)
        with torch.no_grad():
            self.taps[0] = 1.0 / TAP_UNIT  # it starts as a wire
        first, last = (math.log10(seconds) for seconds in TAIL_SECONDS)
        seconds = torch.logspace(first, last, num_tails)
        rates = 1.0 / (seconds.double() * sample_rate)
        units = (-torch.expm1(-2 * rates)).sqrt() / -torch.expm1(-rates)
        self.register_buffer("tail_rates", rates[None], persistent=False)
        self.register_buffer("tail_units", units.float(), persistent=False)

    def neutral(self) -> Float[Tensor, " shape"]:
        """Return the settings that leave ``taps`` alone."""
        return torch.zeros(len(self.shapes))

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Return the state before the first block, silence: the past, and tails if there are."""
        past = self.taps.new_zeros(batch_size, 1, self.num_taps - 1)
        tails = self.tails_at_rest(batch_size)
        return (past, tails) if tails.shape[1] else (past,)

    def tails_at_rest(self, batch_size: int) -> Float[Tensor, "batch tail"]:
        """Return the tails of silence."""
        count = self.tail_rates.shape[1]
        return self.taps.new_zeros(batch_size, count, dtype=torch.float64)

    def mixed(self, settings: Float[Tensor, "batch shape 1"]) -> Float[Tensor, "batch weights"]:
        """Return the filters that the settings make: taps and weights of tails."""
        return TAP_UNIT * (self.taps + settings[..., 0] @ self.shapes)

    def forward(
        self,
        x: Float[Tensor, "batch 1 time"],
        settings: Float[Tensor, "batch shape 1"],
        state: tuple[Tensor, ...],
    ) -> tuple[Float[Tensor, "batch 1 time"], tuple[Tensor, ...]]:
        """Return the filtered block, and the state for the next one."""
        past, *tails = state
        mixed = self.mixed(settings)
        known = torch.cat([past, x], dim=-1)
        kept = known[..., x.shape[-1] :]
        filtered = self._tapped(known, mixed[:, : self.num_taps], x.shape[-1])
        if not tails:
            return filtered, (kept,)
        faded, after = self.tails(x, tails[0])
        weights = mixed[:, None, self.num_taps :]
        return filtered + weights @ faded, (kept, after)

    def tails(
        self, x: Float[Tensor, "batch 1 time"], before: Float[Tensor, "batch tail"]
    ) -> tuple[Float[Tensor, "batch tail time"], Float[Tensor, "batch tail"]]:
        """Return what the tails give, and their state after ``x``."""
        count = self.tail_rates.shape[1]
        rates = self.tail_rates.expand(len(x), -1)
        faded, after = smooth(x.expand(-1, count, -1), rates, before)
        return faded.to(x.dtype) * self.tail_units[:, None], after

    def _tapped(
        self,
        known: Float[Tensor, "batch 1 past_and_time"],
        taps: Float[Tensor, "batch taps"],
        length: int,
    ) -> Float[Tensor, "batch 1 time"]:
        count = self.num_taps
        if torch.compiler.is_compiling():
            # A graph for other runtimes: their Fourier transforms are off by 1e-5 and more.
            rows = known.transpose(0, 1)
            filtered = F.conv1d(rows, taps.flip(-1)[:, None], groups=len(known))
            return filtered.transpose(0, 1)
        if torch.is_grad_enabled() or length > SHORT_BLOCK:
            return convolve(known, taps[:, None])[..., count - 1 :]
        # A view (batch, time, tap): tap k stands k samples further on.
        windows = known.as_strided(
            (len(known), length, count), (known.stride(0), known.stride(2), known.stride(2))
        )
        return (windows @ taps.flip(-1)[..., None]).transpose(1, 2)

    def settled(self, settings: Float[Tensor, " shape"]) -> SettledFilter:
        """Return the filter that these settings mix."""
        mixed = self.mixed(settings[None, :, None])[0]
        return SettledFilter(
            mixed[: self.num_taps],
            tails=SettledSmoother(self.tail_rates[0]),
            weights=mixed[self.num_taps :] * self.tail_units,
        )

    @torch.no_grad()
    def start(self, filters: Float[Tensor, "setting weights"]) -> None:
        """Begin with the mean of ``filters``, and their principal differences as shapes."""
        filters = filters / TAP_UNIT
        mean = filters.mean(dim=0)
        self.taps.copy_(mean)
        _, strengths, directions = torch.linalg.svd(filters - mean, full_matrices=False)
        count = min(len(self.shapes), len(directions))
        # settings of about one, so that all learn at one rate
        scale = strengths[:count] / len(filters) ** 0.5
        sounding = scale > 1e-6 * mean.norm()
        self.shapes[:count] = torch.where(
            sounding[:, None], scale[:, None] * directions[:count], self.shapes[:count]
        )

    @torch.no_grad()
    def coefficients(
        self, filters: Float[Tensor, "setting weights"]
    ) -> Float[Tensor, "setting shape"]:
        """Return the settings that come closest to each of ``filters``."""
        if not len(self.shapes):
            return filters.new_zeros(len(filters), 0)
        wanted = (filters / TAP_UNIT - self.taps).T.double()
        return torch.linalg.lstsq(self.shapes.T.double(), wanted).solution.T.float()
