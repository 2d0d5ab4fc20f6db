"""Parts of a gain network with knobs that stand still: settings are folded into the weights.

On short blocks a network's time goes into starting its many small operations. With settings in
the weights, features that have channels first ("channels batch time": one matrix product for all
of a batch) and results written over what is used up, a third of them remain. Not differentiable;
each part computes what its module does, to rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audiform.nn.envelope import STRETCH


class SettledFollowers:
    """:func:`~audiform.nn.envelope.follow_peaks`, then :func:`~audiform.nn.envelope.smooth`."""

    def __init__(self, *, release: Float[Tensor, " band"], attack: Float[Tensor, " band"]) -> None:
        steps = torch.arange(1, STRETCH + 1, dtype=torch.float64, device=release.device)
        rates = torch.stack([release, attack]).double()[..., None, None]
        growth = (rates * steps).exp()
        self.growth, self.shrink = growth, growth.reciprocal()
        self.share = growth * -torch.expm1(-rates)

    def __call__(
        self,
        level: Float[Tensor, "band batch time"],
        followed: Float[Tensor, "batch band"],
        smoothed: Float[Tensor, "batch band"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the envelopes (band, batch, time), and the next states (batch, band)."""
        peak, slow = followed.T[..., None], smoothed.T[..., None]
        parts = []
        for part in level.double().split(STRETCH, dim=-1):
            growth, shrink, share = (
                table[..., : part.shape[-1]] for table in (self.growth, self.shrink, self.share)
            )
            total = (part * share[0]).cumsum(-1)
            lowest = torch.addcmul(total, part, growth[0], value=-1.0).cummin(-1).values
            peaks = total.sub_(torch.minimum(lowest, -peak)).mul_(shrink[0])
            peak = peaks[..., -1:]
            smooth = (peaks * share[1]).cumsum_(-1).add_(slow).mul_(shrink[1])
            slow = smooth[..., -1:]
            parts.append(smooth)
        envelope = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        return envelope, peak[..., 0].T, slow[..., 0].T


class SettledSmoother:
    """:func:`~audiform.nn.envelope.smooth` at these ``rates``, of one signal for all bands."""

    def __init__(self, rates: Float[Tensor, " band"]) -> None:
        steps = torch.arange(1, STRETCH + 1, dtype=torch.float64, device=rates.device)
        rates = rates.double()[:, None, None]
        growth = (rates * steps).exp()
        self.shrink, self.share = growth.reciprocal(), growth * -torch.expm1(-rates)

    def __call__(
        self, x: Float[Tensor, "1 batch time"], before: Float[Tensor, "batch band"]
    ) -> tuple[Float[Tensor, "band batch time"], Float[Tensor, "batch band"]]:
        """Return what is smoothed, and the next state."""
        state, parts = before.T[..., None], []
        for part in x.double().split(STRETCH, dim=-1):
            length = part.shape[-1]
            total = (part * self.share[..., :length]).cumsum(-1)
            parts.append(total.add_(state).mul_(self.shrink[..., :length]))
            state = parts[-1][..., -1:]
        smoothed = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        return smoothed, state[..., 0].T


class SettledGatedLayer:
    """A gated layer: ``matrix`` and ``bias`` of its convolution, whose gates come second.

    tanh(v) sigmoid(g) is (tanh v + tanh v tanh(g / 2)) / 2: one tanh for all channels.
    """

    def __init__(
        self,
        weight: Float[Tensor, "gated channels tap"],
        bias: Float[Tensor, " gated"],
        output: Float[Tensor, "channels channels"],
        output_bias: Float[Tensor, " channels"],
        *,
        dilation: int,
    ) -> None:
        self.channels, self.taps, self.dilation = weight.shape[1], weight.shape[2], dilation
        halves = torch.ones_like(bias)
        halves[self.channels :] = 0.5
        self.matrix = (weight * halves[:, None, None]).flatten(1)
        self.bias = (bias * halves)[:, None]
        self.output, self.output_bias = 0.5 * output, output_bias[:, None]

    def __call__(
        self, hidden: Float[Tensor, "channels batch time"], past: Float[Tensor, "batch channels p"]
    ) -> tuple[Tensor, Tensor]:
        """Return the features with what the gates let through, and the next past."""
        shape = hidden.shape
        channels, batch, length = shape
        known = torch.cat([past.transpose(0, 1), hidden], dim=-1)
        # A view (channel, tap, batch, time): tap k begins k dilations later.
        row, item, _ = known.stride()
        taps = known.as_strided(
            (channels, self.taps, batch, length), (row, self.dilation, item, 1)
        ).reshape(channels * self.taps, -1)
        convolved = torch.addmm(self.bias, self.matrix, taps).tanh_()
        value, gate = convolved[:channels], convolved[channels:]
        passed = torch.addcmul(value, value, gate)
        result = torch.addmm(hidden.view(channels, -1), self.output, passed).add_(self.output_bias)
        return result.view(shape), known[..., length:].transpose(0, 1)


class SettledFilter:
    """A causal filter of these ``taps``, and of tails that fade, each with a weight."""

    def __init__(
        self,
        taps: Float[Tensor, " taps"],
        *,
        tails: SettledSmoother,
        weights: Float[Tensor, " tail"],
    ) -> None:
        self.reversed = taps.flip(-1)
        self.tails, self.weights = tails, weights.double()

    def __call__(
        self, x: Float[Tensor, "1 batch time"], state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the filtered block (1, batch, time), and the next state: the past, the tails."""
        past, *before = state
        length, count = x.shape[-1], len(self.reversed)
        known = torch.cat([past.transpose(0, 1), x], dim=-1)
        # A view (batch, time, tap): tap k stands k samples further on.
        windows = known.as_strided((known.shape[1], length, count), (known.stride(1), 1, 1))
        filtered = (windows @ self.reversed[:, None])[None, ..., 0]
        kept = known[..., length:].transpose(0, 1)
        if not before:
            return filtered, (kept,)
        faded, after = self.tails(x, before[0])
        added = (self.weights @ faded.view(len(faded), -1)).to(x.dtype)
        return filtered.add_(added.view(x.shape)), (kept, after)


class SettledGain:
    """A gain stage: levels through ``knee`` and ``curve``, followers, and what mixes them.

    Each pair is a weight (out, in) and a bias (out); levels are the logarithms of
    x^2 + ``floor``, and of ``averages`` of x^2 + ``floor``. Gains are within ``least_nepers`` and
    ``most_nepers``.
    """

    def __init__(
        self,
        *,
        knee: tuple[Tensor, Tensor],
        curve: tuple[Tensor, Tensor],
        followers: SettledFollowers,
        averages: SettledSmoother | None,
        mix: tuple[Tensor, Tensor],
        bend: tuple[Tensor, Tensor],
        mix_bent: tuple[Tensor, Tensor],
        floor: float,
        least_nepers: float,
        most_nepers: float,
    ) -> None:
        self.knee, self.curve, self.bend = ((w, b[:, None]) for w, b in (knee, curve, bend))
        self.mix, self.mix_bent = mix[0], mix_bent[0]
        self.makeup = (mix[1] + mix_bent[1])[:, None]
        self.followers, self.averages = followers, averages
        self.floor = floor
        self.least, self.most = least_nepers, most_nepers

    def __call__(
        self,
        x: Float[Tensor, "1 batch time"],
        state: tuple[Tensor, ...],
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Return the gain (1, batch, time), the envelopes (band, batch, time), the next state."""
        *averages, followed, smoothed = state
        squares = x.square()
        if self.averages is not None:
            averaged, after = self.averages(squares, averages[0])
            squares = torch.cat([squares, averaged.clamp_(min=0.0).to(x.dtype)])
            averages = [after]
        level = squares.add_(self.floor).log_().view(len(squares), -1)
        hidden = F.silu(torch.addmm(self.knee[1], self.knee[0], level), inplace=True)
        drive = torch.addmm(self.curve[1], self.curve[0], hidden)
        envelope, followed, smoothed = self.followers(
            drive.view(-1, *x.shape[1:]), followed, smoothed
        )
        envelope = envelope.to(x.dtype)
        flat = envelope.view(len(envelope), -1)
        bent = F.silu(torch.addmm(self.bend[1], self.bend[0], flat), inplace=True)
        nepers = torch.addmm(torch.addmm(self.makeup, self.mix, flat), self.mix_bent, bent)
        gain = nepers.clamp_(self.least, self.most).exp_()
        return gain.view(x.shape), envelope, (*averages, followed, smoothed)
