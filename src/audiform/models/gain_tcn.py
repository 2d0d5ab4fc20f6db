"""GainTCN: a gain with a memory of seconds, and gated convolutions; causal, for use while playing.

Two parts, both set by the knobs. The gain stage is a compressor whose curve and times are
learned: the level of each sample goes through a small network (the static curve), its results
through peak followers with a release and smoothers with an attack, and their sum is a gain in
nepers. The other part, a temporal convolutional network with gates, sees the dry signal, the
signal after the gain and what the followers say, and adds what a gain cannot do: filters,
distortion, short echoes.

The state is explicit and small: the past of four convolutions and one number for each follower
and smoother. Blocks of any length give what one pass gives.

Ancestors: C. Steinmetz and J. Reiss, "Efficient neural networks for real-time modeling of analog
dynamic range compression", 2022, arXiv:2102.06200 (few layers of steeply growing dilation, knobs
as gains and shifts of features); A. Wright and V. Valimaki, "Grey-box modelling of dynamic range
compression", 2022 (a learned gain computer). Differs from the first in the gain stage, which
gives a memory that convolutions would need 200 thousand samples for, and in having gates; from
the second in followers whose two times are the knobs' own and whose exact recursion runs in
parallel over time (:mod:`audiform.nn.envelope`).
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from audiform.knob import Knob
from audiform.nn.causal_convolution import CausalConvolution
from audiform.nn.envelope import FASTEST_RATE, follow_peaks, smooth
from audiform.nn.streamed_effect import StreamedEffect
from audiform.protocols import EffectSpec, EffectState

#: Added to the square of a sample before its logarithm: -90 dB.
LEVEL_FLOOR = 1e-9

#: The logarithm of a square, times this, is between -2 and 0.
LEVEL_SCALE = 0.1

#: Slowest memory that a follower can learn.
SLOWEST_SECONDS = 20.0

#: Times that followers and smoothers start with, spread evenly in their logarithm.
RELEASE_SECONDS = (0.02, 2.0)
ATTACK_SECONDS = (0.0005, 0.05)

#: The envelopes' first weights in the gain are at most this.
FIRST_MIX = 0.15

#: A gain is at most e^3, 26 dB, and at least 1 / e^12, -104 dB.
MOST_NEPERS, LEAST_NEPERS = 3.0, -12.0


class GainTCNConfig(BaseModel):
    """Hyper-parameters of :class:`GainTCN`.

    - ``hidden_channels``, ``kernel_size``, ``dilations``: of the convolutions, one layer for each
      dilation.
    - ``num_followers``: peak followers, each with a smoother; ``curve_channels``: width of the
      network before them; ``knob_channels``: of the one that the knobs go through.
    - ``look_back_seconds``: how much dry audio a training example begins with, so that the
      followers know what came before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    knobs: tuple[Knob, ...] = ()
    sample_rate: PositiveInt = 44100
    hidden_channels: PositiveInt = 16
    kernel_size: Annotated[int, Field(ge=2)] = 9
    dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 8, 64, 512)
    num_followers: PositiveInt = 4
    curve_channels: PositiveInt = 16
    knob_channels: PositiveInt = 32
    look_back_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0

    @property
    def receptive_samples(self) -> int:
        """Samples before one that the convolutions see."""
        return (self.kernel_size - 1) * sum(self.dilations)


class GainStage(nn.Module):
    """The level of the signal, and what knobs make of it, as a gain with attack and release."""

    def __init__(self, config: GainTCNConfig) -> None:
        super().__init__()
        width, bands = config.curve_channels, config.num_followers
        self.sample_rate = config.sample_rate
        self.sizes = [width, width, bands, bands, bands, 1]
        self.knee = nn.Conv1d(1, width, 1)
        self.curve = nn.Conv1d(width, bands, 1)
        self.mix = nn.Conv1d(bands, 1, 1)
        # A gain near one, whatever the level.
        nn.init.uniform_(self.mix.weight, -FIRST_MIX, FIRST_MIX)
        _zero_bias(self.mix)
        self.release = nn.Parameter(_log_rates(RELEASE_SECONDS, bands, config.sample_rate))
        self.attack = nn.Parameter(_log_rates(ATTACK_SECONDS, bands, config.sample_rate))

    def neutral(self) -> Float[Tensor, " setting"]:
        """Return the settings that change nothing: factors of one, for slope and ratio."""
        factors = (1.0, 0.0, 1.0, 0.0, 0.0, 0.0)
        return torch.tensor(factors).repeat_interleave(torch.tensor(self.sizes))

    def forward(
        self,
        x: Float[Tensor, "batch 1 time"],
        settings: Float[Tensor, "batch setting 1"],
        followed: Float[Tensor, "batch band"],
        smoothed: Float[Tensor, "batch band"],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gain (batch, 1, time), the envelopes (batch, band, time), the next states."""
        slope, shift, ratio, release, attack, makeup = settings.split(self.sizes, dim=1)
        level = LEVEL_SCALE * (x.square() + LEVEL_FLOOR).log()
        hidden = F.silu(torch.addcmul(shift, self.knee(level), slope))
        drive = self.curve(hidden) * ratio
        peaks, followed = follow_peaks(drive, self._rate(self.release + release[..., 0]), followed)
        envelope, smoothed = smooth(peaks, self._rate(self.attack + attack[..., 0]), smoothed)
        envelope = envelope.to(x.dtype)
        nepers = self.mix(envelope) + makeup
        return nepers.clamp(LEAST_NEPERS, MOST_NEPERS).exp(), envelope, followed, smoothed

    def _rate(self, logarithm: Float[Tensor, "batch band"]) -> Float[Tensor, "batch band"]:
        slowest = 1 / (SLOWEST_SECONDS * self.sample_rate)
        return logarithm.double().exp().clamp(slowest, FASTEST_RATE)


class GatedLayer(nn.Module):
    """A causal convolution, gained and shifted by the knobs, through a gate; residual."""

    def __init__(self, channels: int, *, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.convolution = CausalConvolution(
            channels, 2 * channels, kernel_size=kernel_size, dilation=dilation
        )
        self.output = nn.Conv1d(channels, channels, 1)
        self.channels = channels

    def neutral(self) -> Float[Tensor, " setting"]:
        """Return the settings that change nothing: gains of one, no shifts."""
        return torch.tensor([1.0, 0.0]).repeat_interleave(2 * self.channels)

    def forward(
        self,
        hidden: Float[Tensor, "batch channels time"],
        settings: Float[Tensor, "batch setting 1"],
        past: Float[Tensor, "batch channels past"],
    ) -> tuple[Tensor, Tensor]:
        """Return the features with what the gate let through, and the next past."""
        gain, shift = settings.chunk(2, dim=1)
        convolved, past = self.convolution(hidden, past)
        value, gate = torch.addcmul(shift, convolved, gain).chunk(2, dim=1)
        passed = value.tanh() * gate.sigmoid()
        return hidden + self.output(passed), past


class GainTCN(StreamedEffect):
    """Learned effect for use while playing; see the module's text."""

    neutral: Tensor

    def __init__(self, config: GainTCNConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.hidden_channels
        self.gain = GainStage(config)
        # Dry, dry after the gain, envelopes.
        self.input = nn.Conv1d(2 + config.num_followers, channels, 1)
        layers = [
            GatedLayer(channels, kernel_size=config.kernel_size, dilation=dilation)
            for dilation in config.dilations
        ]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Conv1d(channels, 1, 1)
        nn.init.zeros_(self.head.weight)  # it starts as the dry signal
        _zero_bias(self.head)
        neutral = [self.gain.neutral(), *(layer.neutral() for layer in layers)]
        self.sizes = [len(part) for part in neutral]
        # The knobs and a one, so that an effect without knobs has settings too.
        self.from_knobs = nn.Sequential(
            nn.Linear(len(config.knobs) + 1, config.knob_channels, bias=False),
            nn.SiLU(),
            nn.Linear(config.knob_channels, sum(self.sizes)),
        )
        self.register_buffer("neutral", torch.cat(neutral), persistent=False)
        self.past_samples = [layer.convolution.past_samples for layer in layers]

    @property
    def spec(self) -> EffectSpec:
        """What the engine must know."""
        config = self.config
        look_back = math.ceil(config.look_back_seconds * config.sample_rate)
        return EffectSpec(
            sample_rate=config.sample_rate,
            audio_channels=1,
            knobs=config.knobs,
            context_samples=max(config.receptive_samples, look_back),
        )

    def initial_state(self, batch_size: int = 1) -> EffectState:
        """Return the state before the first block: silence, and followers at rest there."""
        weight, config = self.head.weight, self.config
        pasts = (
            weight.new_zeros(batch_size, config.hidden_channels, past) for past in self.past_samples
        )
        rest = weight.new_zeros(batch_size, config.num_followers, dtype=torch.float64)
        return (*pasts, rest, rest)

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        *pasts, followed, smoothed = state
        settings = self._settings(knobs)
        gain, envelope, followed, smoothed = self.gain(block, settings[0], followed, smoothed)
        ridden = block * gain
        seen = torch.cat([block, ridden, envelope], dim=1)
        hidden = self.input(seen)
        kept = []
        for layer, own, past in zip(self.layers, settings[1:], pasts, strict=True):
            hidden, past = layer(hidden, own, past)
            kept.append(past)
        return ridden + self.head(hidden), (*kept, followed, smoothed)

    def _settings(self, knobs: Float[Tensor, "batch knob"]) -> tuple[Tensor, ...]:
        """Return what the knobs set each part to, (batch, setting, 1): some multiply, some add."""
        one = knobs.new_ones(len(knobs), 1)
        settings = self.from_knobs(torch.cat([knobs, one], dim=1)) + self.neutral
        return settings[..., None].split(self.sizes, dim=1)


def _zero_bias(layer: nn.Conv1d) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def _log_rates(seconds: tuple[float, float], count: int, sample_rate: int) -> Tensor:
    """Return logarithms of rates per sample whose times are spread between two."""
    first, last = (-math.log(time * sample_rate) for time in seconds)
    return torch.linspace(first, last, count)
