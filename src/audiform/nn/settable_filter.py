"""A causal filter of many taps whose shape is mixed by settings, carried from block to block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.dsp.convolve import convolve
from audiform.nn.causal_convolution import SHORT_BLOCK
from audiform.nn.settled import SettledFilter

#: Weights are taps divided by this: an optimiser that moves every weight by as much as the others'
#: would otherwise drown a fitted filter in noise.
TAP_UNIT = 0.03


class SettableFilter(nn.Module):
    """``taps`` of the filter, plus ``shapes`` (as many as asked for), each times a setting.

    Both in units of :data:`TAP_UNIT`.
    """

    def __init__(self, num_taps: int, num_shapes: int) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.zeros(num_taps))
        self.shapes = nn.Parameter(torch.randn(num_shapes, num_taps) / num_taps)
        with torch.no_grad():
            self.taps[0] = 1.0 / TAP_UNIT  # it starts as a wire

    def neutral(self) -> Float[Tensor, " shape"]:
        """Return the settings that leave ``taps`` alone."""
        return torch.zeros(len(self.shapes))

    def forward(
        self,
        x: Float[Tensor, "batch 1 time"],
        settings: Float[Tensor, "batch shape 1"],
        past: Float[Tensor, "batch 1 past"],
    ) -> tuple[Float[Tensor, "batch 1 time"], Float[Tensor, "batch 1 past"]]:
        """Return the filtered block, and the past of the next one."""
        length, count = x.shape[-1], len(self.taps)
        taps = TAP_UNIT * (self.taps + settings[..., 0] @ self.shapes)
        known = torch.cat([past, x], dim=-1)
        kept = known[..., length:]
        if torch.compiler.is_compiling():
            # A graph for other runtimes: their Fourier transforms are off by 1e-5 and more.
            rows = known.transpose(0, 1)
            filtered = F.conv1d(rows, taps.flip(-1)[:, None], groups=len(known))
            return filtered.transpose(0, 1), kept
        if torch.is_grad_enabled() or length > SHORT_BLOCK:
            return convolve(known, taps[:, None])[..., count - 1 :], kept
        # A view (batch, time, tap): tap k stands k samples further on.
        windows = known.as_strided(
            (len(known), length, count), (known.stride(0), known.stride(2), known.stride(2))
        )
        return (windows @ taps.flip(-1)[..., None]).transpose(1, 2), kept

    def settled(self, settings: Float[Tensor, " shape"]) -> SettledFilter:
        """Return the filter that these settings mix."""
        return SettledFilter(TAP_UNIT * (self.taps + settings @ self.shapes))

    @torch.no_grad()
    def start(self, filters: Float[Tensor, "setting taps"]) -> None:
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
        self, filters: Float[Tensor, "setting taps"]
    ) -> Float[Tensor, "setting shape"]:
        """Return the settings that come closest to each of ``filters``."""
        if not len(self.shapes):
            return filters.new_zeros(len(filters), 0)
        wanted = (filters / TAP_UNIT - self.taps).T.double()
        return torch.linalg.lstsq(self.shapes.T.double(), wanted).solution.T.float()
