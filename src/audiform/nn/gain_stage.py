"""A compressor whose static curve and times are learned, run exactly and in parallel over time.

The level of each sample goes through a small network (the static curve), its results through
peak followers with a release and smoothers with an attack (:mod:`audiform.nn.envelope`); what
another small network makes of those is a gain in nepers. Silence is where followers rest.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.envelope import FASTEST_RATE, follow_peaks, smooth
from audiform.nn.pointwise import Mixing, Pointwise
from audiform.nn.settled import SettledFollowers, SettledGain, SettledSmoother

#: Added to the square of a sample before its logarithm: -90 dB.
LEVEL_FLOOR = 1e-9

#: The logarithm of a square, times this, is between -2 and 0.
LEVEL_SCALE = 0.1

#: Slowest memory that a follower can learn.
SLOWEST_SECONDS = 20.0

#: Times that followers and smoothers start with, spread evenly in their logarithm.
RELEASE_SECONDS = (0.02, 3.0)
ATTACK_SECONDS = (0.0005, 0.2)

#: The same of averages.
AVERAGE_SECONDS = (0.002, 0.02)

#: The static curve begins as a sum of knees between these levels, each as sharp as this.
KNEES_DB, KNEE_SHARPNESS = (-70.0, -5.0), 4.0

#: A gain is at most e^3, 26 dB, and at least 1 / e^12, -104 dB.
MOST_NEPERS, LEAST_NEPERS = 3.0, -12.0


class GainStage(nn.Module):
    """The level of the signal, and what knobs make of it, as a gain with attack and release.

    ``bands`` peak followers, each with a smoother, behind a network of ``width`` for the static
    curve, which sees the level of each sample and those of ``num_averages`` mean squares.
    """

    def __init__(self, bands: int, width: int, *, num_averages: int, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.sizes = [width, width, bands, bands, bands, 1]
        self.num_averages = num_averages
        self.knee = Pointwise(1 + num_averages, width)
        self.curve = Mixing(width, bands)
        self.mix = Pointwise(bands, 1)
        self.bend = Pointwise(bands, width)
        self.mix_bent = Pointwise(width, 1)
        _start_curve(self.knee, self.curve)
        # A gain of one, so that a filter can be fitted to what it leaves alone.
        for layer in (self.mix, self.mix_bent):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.release = nn.Parameter(_log_rates(RELEASE_SECONDS, bands, sample_rate))
        self.attack = nn.Parameter(_log_rates(ATTACK_SECONDS, bands, sample_rate))
        rates = _log_rates(AVERAGE_SECONDS, num_averages, sample_rate)
        self.average = nn.Parameter(rates) if num_averages else None

    def neutral(self) -> Float[Tensor, " setting"]:
        """Return the settings that change nothing: factors of one, for slope and ratio."""
        factors = (1.0, 0.0, 1.0, 0.0, 0.0, 0.0)
        return torch.tensor(factors).repeat_interleave(torch.tensor(self.sizes))

    def at_rest(self, batch_size: int) -> tuple[Tensor, ...]:
        """Return the state before the first block: averages, if there are, and followers."""
        bands = self.mix.in_channels
        rest = self.release.new_zeros(batch_size, bands, dtype=torch.float64)
        averages = rest.new_zeros(batch_size, self.num_averages)
        return (averages, rest, rest) if self.num_averages else (rest, rest)

    def forward(
        self,
        x: Float[Tensor, "batch 1 time"],
        settings: Float[Tensor, "batch setting 1"],
        state: tuple[Tensor, ...],
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Return the gain (batch, 1, time), the envelopes (batch, band, time), the next state."""
        squares = x.square()
        return self.of_squares(squares, squares, settings, state)

    def of_squares(
        self,
        highest: Float[Tensor, "batch 1 time"],
        mean: Float[Tensor, "batch 1 time"],
        settings: Float[Tensor, "batch setting 1"],
        state: tuple[Tensor, ...],
        *,
        hop_samples: int = 1,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Return the same from squares of samples, or their highest and mean in each hop."""
        slope, shift, ratio, release, attack, makeup = settings.split(self.sizes, dim=1)
        *averages, followed, smoothed = state
        squares = highest
        if self.average is not None:
            rates = self._rate(self.average, hop_samples).expand(len(mean), -1)
            averaged, last = smooth(mean.expand(-1, self.num_averages, -1), rates, averages[0])
            # rounding of sums could leave less than nothing
            squares = torch.cat([highest, averaged.clamp(min=0.0).to(highest.dtype)], dim=1)
            averages = [last]
        level = LEVEL_SCALE * (squares + LEVEL_FLOOR).log()
        hidden = F.silu(torch.addcmul(shift, self.knee(level), slope))
        drive = self.curve(hidden - self._silent(slope, shift)) * ratio
        falling = self._rate(self.release + release[..., 0], hop_samples)
        peaks, followed = follow_peaks(drive, falling, followed)
        rising = self._rate(self.attack + attack[..., 0], hop_samples)
        envelope, smoothed = smooth(peaks, rising, smoothed)
        envelope = envelope.to(highest.dtype)
        bent = self.mix_bent(F.silu(self.bend(envelope)))
        nepers = self.mix(envelope) + bent + makeup
        gain = nepers.clamp(LEAST_NEPERS, MOST_NEPERS).exp()
        return gain, envelope, (*averages, followed, smoothed)

    def _silent(
        self, slope: Float[Tensor, "batch width 1"], shift: Float[Tensor, "batch width 1"]
    ) -> Float[Tensor, "batch width 1"]:
        """Return what the curve's network makes of the level of silence."""
        level = slope.new_full((1, 1 + self.num_averages, 1), LEVEL_SCALE * math.log(LEVEL_FLOOR))
        return F.silu(torch.addcmul(shift, self.knee(level), slope))

    def settled(self, settings: Float[Tensor, " setting"]) -> SettledGain:
        """Return the stage with these settings in its weights."""
        slope, shift, ratio, release, attack, makeup = settings.split(self.sizes)
        silent = self._silent(slope[None, :, None], shift[None, :, None])[0, :, 0]
        curve = self.curve.weight[..., 0]
        knee, mix, bend, mix_bent = (
            (layer.weight[..., 0], layer.bias)
            for layer in (self.knee, self.mix, self.bend, self.mix_bent)
        )
        return SettledGain(
            knee=(LEVEL_SCALE * slope[:, None] * knee[0], slope * knee[1] + shift),
            curve=(ratio[:, None] * curve, -ratio * (curve @ silent)),
            followers=SettledFollowers(
                release=self._rate(self.release + release), attack=self._rate(self.attack + attack)
            ),
            averages=None if self.average is None else SettledSmoother(self._rate(self.average)),
            mix=(mix[0], mix[1] + makeup),
            bend=bend,
            mix_bent=mix_bent,
            floor=LEVEL_FLOOR,
            least_nepers=LEAST_NEPERS,
            most_nepers=MOST_NEPERS,
        )

    def _rate(
        self, logarithm: Float[Tensor, "*rates"], hop_samples: int = 1
    ) -> Float[Tensor, "*rates"]:
        slowest = 1 / (SLOWEST_SECONDS * self.sample_rate)
        rate = logarithm.double().exp().clamp(slowest, FASTEST_RATE)
        return rate if hop_samples == 1 else (hop_samples * rate).clamp(max=FASTEST_RATE)


def _start_curve(knee: Pointwise, curve: Mixing) -> None:
    """Begin with curves that rise with one level or another, from one knee on or another."""
    width, sorts = knee.out_channels, knee.in_channels
    each = -(-width // sorts)
    levels = torch.linspace(*KNEES_DB, each) * (LEVEL_SCALE * math.log(10.0) / 10.0)
    with torch.no_grad():
        knee.weight.zero_()
        for unit in range(width):
            knee.weight[unit, unit % sorts] = KNEE_SHARPNESS
            knee.bias[unit] = -KNEE_SHARPNESS * levels[unit // sorts]
    nn.init.uniform_(curve.weight, 0.0, 2.0 / width)


def _log_rates(seconds: tuple[float, float], count: int, sample_rate: int) -> Tensor:
    """Return logarithms of rates per sample whose times are spread between two."""
    first, last = (-math.log(time * sample_rate) for time in seconds)
    return torch.linspace(first, last, count)
