"""GainTCN: a gain with a memory of seconds, gated convolutions, a filter; for use while playing.

Three parts, all set by the knobs. The gain stage is a compressor whose curve and times are
learned: the level of each sample goes through a small network (the static curve), its results
through peak followers with a release and smoothers with an attack, and what another small
network makes of those is a gain in nepers. A temporal convolutional network with gates sees the
dry signal, the signal after the gain and what the followers say, and adds what a gain cannot do:
distortion, short echoes. Last comes a filter of some hundred taps: the linear colour of a device,
which decides most of the error on compressors and which least squares give before any training
(:meth:`GainTCN.fit_start`). What the convolutions add is half before, half after the filter.

The state is explicit and small: the past of the convolutions and of the filter, and one number
for each follower and smoother. Blocks of any length give what one pass gives. It is causal, but
for ``look_ahead_samples``, its latency.

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
from collections.abc import Sequence
from functools import reduce
from typing import Annotated, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from audiform.dsp.least_squares_filter import NormalEquations, normal_equations
from audiform.knob import Knob
from audiform.nn.causal_convolution import SHORT_BLOCK, CausalConvolution
from audiform.nn.envelope import FASTEST_RATE, follow_peaks, smooth
from audiform.nn.pointwise import Pointwise
from audiform.nn.settable_filter import SettableFilter
from audiform.nn.settled import SettledFollowers, SettledGain, SettledGatedLayer
from audiform.nn.streamed_effect import PASS_SAMPLES, StreamedEffect
from audiform.protocols import EffectSpec, EffectState

#: Added to the square of a sample before its logarithm: -90 dB.
LEVEL_FLOOR = 1e-9

#: The logarithm of a square, times this, is between -2 and 0.
LEVEL_SCALE = 0.1

#: Slowest memory that a follower can learn.
SLOWEST_SECONDS = 20.0

#: Times that followers and smoothers start with, spread evenly in their logarithm.
RELEASE_SECONDS = (0.02, 3.0)
ATTACK_SECONDS = (0.0005, 0.2)

#: The static curve begins as a sum of knees between these levels, each as sharp as this.
KNEES_DB, KNEE_SHARPNESS = (-70.0, -5.0), 4.0

#: How much of the sound before a training segment the gain stage learns from; before that it
#: only listens.
LEARNED_SECONDS = 0.5

#: Ridges of the first fit, as shares of the energy: of filters, of what knobs do to them.
FILTER_RIDGE, SETTINGS_RIDGE = 1e-6, 1e-4

#: A gain is at most e^3, 26 dB, and at least 1 / e^12, -104 dB.
MOST_NEPERS, LEAST_NEPERS = 3.0, -12.0


class GainTCNConfig(BaseModel):
    """Hyper-parameters of :class:`GainTCN`.

    - ``hidden_channels``, ``kernel_size``, ``dilations``: of the convolutions, one layer for each
      dilation.
    - ``num_followers``: peak followers, each with a smoother; ``curve_channels``: width of the
      network before them; ``knob_channels``: of the one that the knobs go through.
    - ``filter_taps`` of the last filter, and ``filter_shapes`` that knobs mix into it.
    - ``look_ahead_samples``: how far it hears ahead, which is its latency.
    - ``look_back_seconds``: how much dry audio a training example begins with, so that the
      followers know what came before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    knobs: tuple[Knob, ...] = ()
    sample_rate: PositiveInt = 44100
    hidden_channels: PositiveInt = 16
    kernel_size: Annotated[int, Field(ge=2)] = 9
    dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 8, 64, 512)
    num_followers: PositiveInt = 6
    curve_channels: PositiveInt = 16
    knob_channels: PositiveInt = 32
    filter_taps: PositiveInt = 384
    filter_shapes: NonNegativeInt = 6
    look_ahead_samples: Annotated[int, Field(ge=0, le=4096)] = 0
    look_back_seconds: Annotated[float, Field(ge=0, le=60)] = 3.0

    @property
    def receptive_samples(self) -> int:
        """Samples before one that the convolutions and the filter see."""
        return (self.kernel_size - 1) * sum(self.dilations) + self.filter_taps - 1


class GainStage(nn.Module):
    """The level of the signal, and what knobs make of it, as a gain with attack and release."""

    def __init__(self, config: GainTCNConfig) -> None:
        super().__init__()
        width, bands = config.curve_channels, config.num_followers
        self.sample_rate = config.sample_rate
        self.sizes = [width, width, bands, bands, bands, 1]
        self.knee = Pointwise(1, width)
        self.curve = Pointwise(width, bands)
        self.mix = Pointwise(bands, 1)
        self.bend = Pointwise(bands, width)
        self.mix_bent = Pointwise(width, 1)
        _start_curve(self.knee, self.curve)
        # A gain of one, so that a filter can be fitted to what it leaves alone.
        for layer in (self.mix, self.mix_bent):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
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
        bent = self.mix_bent(F.silu(self.bend(envelope)))
        nepers = self.mix(envelope) + bent + makeup
        return nepers.clamp(LEAST_NEPERS, MOST_NEPERS).exp(), envelope, followed, smoothed

    def settled(self, settings: Float[Tensor, " setting"]) -> SettledGain:
        """Return the stage with these settings in its weights."""
        slope, shift, ratio, release, attack, makeup = settings.split(self.sizes)
        knee, curve, mix, bend, mix_bent = (
            (layer.weight[..., 0], layer.bias)
            for layer in (self.knee, self.curve, self.mix, self.bend, self.mix_bent)
        )
        return SettledGain(
            knee=(LEVEL_SCALE * slope[:, None] * knee[0], slope * knee[1] + shift),
            curve=(ratio[:, None] * curve[0], ratio * curve[1]),
            followers=SettledFollowers(
                release=self._rate(self.release + release), attack=self._rate(self.attack + attack)
            ),
            mix=(mix[0], mix[1] + makeup),
            bend=bend,
            mix_bent=mix_bent,
            floor=LEVEL_FLOOR,
            least_nepers=LEAST_NEPERS,
            most_nepers=MOST_NEPERS,
        )

    def _rate(self, logarithm: Float[Tensor, "*batch band"]) -> Float[Tensor, "*batch band"]:
        slowest = 1 / (SLOWEST_SECONDS * self.sample_rate)
        return logarithm.double().exp().clamp(slowest, FASTEST_RATE)


class GatedLayer(nn.Module):
    """A causal convolution, gained and shifted by the knobs, through a gate; residual."""

    def __init__(self, channels: int, *, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.convolution = CausalConvolution(
            channels, 2 * channels, kernel_size=kernel_size, dilation=dilation
        )
        self.output = Pointwise(channels, channels)
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

    def settled(self, settings: Float[Tensor, " setting"]) -> SettledGatedLayer:
        """Return the layer with these settings in its weights."""
        gain, shift = settings.chunk(2)
        bias = self.convolution.bias
        assert bias is not None
        return SettledGatedLayer(
            gain[:, None, None] * self.convolution.weight,
            gain * bias + shift,
            self.output.weight[..., 0],
            self.output.bias,
            dilation=self.convolution.dilation,
        )


class GainTCN(StreamedEffect):
    """Learned effect for use while playing; see the module's text."""

    neutral: Tensor

    def __init__(self, config: GainTCNConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.hidden_channels
        self.gain = GainStage(config)
        # Dry, dry after the gain, envelopes.
        self.input = Pointwise(2 + config.num_followers, channels)
        layers = [
            GatedLayer(channels, kernel_size=config.kernel_size, dilation=dilation)
            for dilation in config.dilations
        ]
        self.layers = nn.ModuleList(layers)
        # Before and after the filter.
        self.head = Pointwise(channels, 2)
        nn.init.zeros_(self.head.weight)  # it starts as the dry signal
        _zero_bias(self.head)
        self.filter = SettableFilter(config.filter_taps, config.filter_shapes)
        neutral = [
            self.gain.neutral(),
            *(layer.neutral() for layer in layers),
            self.filter.neutral(),
        ]
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
            latency_samples=config.look_ahead_samples,
        )

    def initial_state(self, batch_size: int = 1) -> EffectState:
        """Return the state before the first block: silence, and followers at rest there."""
        weight, config = self.head.weight, self.config
        pasts = (
            weight.new_zeros(batch_size, config.hidden_channels, past) for past in self.past_samples
        )
        unfiltered = weight.new_zeros(batch_size, 1, config.filter_taps - 1)
        rest = weight.new_zeros(batch_size, config.num_followers, dtype=torch.float64)
        return (*pasts, unfiltered, rest, rest)

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        *pasts, unfiltered, followed, smoothed = state
        settings = self._settings(knobs)
        gain, envelope, followed, smoothed = self.gain(block, settings[0], followed, smoothed)
        ridden = block * gain
        seen = torch.cat([block, ridden, envelope], dim=1)
        hidden = self.input(seen)
        kept = []
        for layer, own, past in zip(self.layers, settings[1:-1], pasts, strict=True):
            hidden, past = layer(hidden, own, past)
            kept.append(past)
        before, after = self.head(hidden).split(1, dim=1)
        filtered, unfiltered = self.filter(ridden + before, settings[-1], unfiltered)
        return filtered + after, (*kept, unfiltered, followed, smoothed)

    @torch.no_grad()
    def settled(self, knobs: Float[Tensor, " knob"]) -> SettledGainTCN:
        """Return :meth:`step` for knobs that stand still, quicker on short blocks."""
        return SettledGainTCN(self, knobs)

    def _settings(self, knobs: Float[Tensor, "batch knob"]) -> tuple[Tensor, ...]:
        """Return what the knobs set each part to, (batch, setting, 1): some multiply, some add."""
        settings = self._hidden(knobs) @ self._readout.weight.T + self._readout.bias + self.neutral
        return settings[..., None].split(self.sizes, dim=1)

    def _hidden(self, knobs: Float[Tensor, "batch knob"]) -> Float[Tensor, "batch hidden"]:
        one = knobs.new_ones(len(knobs), 1)
        hidden: Tensor = self.from_knobs[1](self.from_knobs[0](torch.cat([knobs, one], dim=1)))
        return hidden

    @property
    def _readout(self) -> nn.Linear:
        readout = self.from_knobs[2]
        assert isinstance(readout, nn.Linear)
        return readout

    def forward(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 time"]:
        """Return what ``dry`` becomes, undelayed, at its length; silence lies before and after."""
        ahead = self.config.look_ahead_samples
        return self.run(F.pad(dry, (0, ahead)), knobs, self.initial_state(len(dry)))[..., ahead:]

    def predict(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 wet_time"]:
        """Return what all of ``dry`` but its look-back and look-ahead becomes.

        The gain stage hears the whole look-back, and learns from the end of it; the convolutions
        hear what they see.
        """
        spec, config = self.spec, self.config
        ahead = config.look_ahead_samples
        # the wet sound is later than the dry one by `ahead`
        seen_from = max(0, spec.context_samples + ahead - config.receptive_samples)
        learned = round(LEARNED_SECONDS * config.sample_rate) if torch.is_grad_enabled() else 0
        learned_from = max(0, seen_from - learned)
        *pasts, followed, smoothed = self.initial_state(len(dry))
        settings = self._settings(knobs)[0]
        with torch.no_grad():
            followed, smoothed = self._listen(dry[..., :learned_from], settings, followed, smoothed)
        between = dry[..., learned_from:seen_from]
        followed, smoothed = self._listen(between, settings, followed, smoothed)
        wet = self.run(dry[..., seen_from:], knobs, (*pasts, followed, smoothed))
        return wet[..., spec.context_samples + ahead - seen_from :]

    def _listen(
        self, dry: Tensor, settings: Tensor, followed: Tensor, smoothed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the states of the gain stage after ``dry``."""
        for block in dry.split(PASS_SAMPLES, dim=-1):
            if block.shape[-1]:
                _, _, followed, smoothed = self.gain(block, settings, followed, smoothed)
        return followed, smoothed

    @torch.no_grad()
    def fit_start(
        self,
        dry: Sequence[Float[Tensor, "1 time"]],
        wet: Sequence[Float[Tensor, "1 time"]],
        knobs: Sequence[Float[Tensor, " knob"]],
    ) -> None:
        """Begin with the filters that bring what the gain stage gives closest to ``wet``.

        One filter for each setting by least squares; their mean is the filter, their principal
        differences its shapes, and a ridge regression says how knobs mix those.
        """
        sums: dict[tuple[float, ...], NormalEquations] = {}
        taps, ahead = self.config.filter_taps, self.config.look_ahead_samples
        for own_dry, own_wet, own_knobs in zip(dry, wet, knobs, strict=True):
            ridden = F.pad(self._ride(own_dry[None], own_knobs[None])[0, 0], (taps - 1, 0))
            cut = max(0, own_wet.shape[-1] - ahead)
            found = normal_equations(
                ridden[ahead : ahead + cut + taps - 1], own_wet[0, :cut], num_taps=taps
            )
            key = tuple(own_knobs.tolist())
            sums[key] = sums[key].plus(found) if key in sums else found
        common = reduce(NormalEquations.plus, sums.values()).solve(FILTER_RIDGE)
        # a setting's filter differs from the common one where its own sound says so
        own = torch.stack([_near(found, common) for found in sums.values()])
        self.filter.start(own.float())
        coefficients = self.filter.coefficients(own.float())
        positions = torch.tensor(list(sums)).reshape(len(sums), -1)
        self._start_settings(positions.to(own_knobs), coefficients)

    def _ride(self, dry: Tensor, knobs: Tensor) -> Tensor:
        """Return ``dry`` after the gain stage."""
        *_, followed, smoothed = self.initial_state(len(dry))
        settings, parts = self._settings(knobs)[0], []
        for block in dry.split(PASS_SAMPLES, dim=-1):
            gain, _, followed, smoothed = self.gain(block, settings, followed, smoothed)
            parts.append(block * gain)
        return torch.cat(parts, dim=-1)

    def _start_settings(
        self, knobs: Float[Tensor, "setting knob"], wanted: Float[Tensor, "setting shape"]
    ) -> None:
        """Let the knobs mix the filter's shapes as ``wanted``; other settings stay neutral."""
        count = wanted.shape[1]
        if not count:
            return
        hidden = self._hidden(knobs).double()
        hidden = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)
        ridge = SETTINGS_RIDGE * len(hidden) * torch.eye(hidden.shape[1]).to(hidden)
        weights = torch.linalg.solve(hidden.T @ hidden + ridge, hidden.T @ wanted.double())
        self._readout.weight[-count:] = weights[:-1].T.float()
        self._readout.bias[-count:] = weights[-1].float()


class SettledGainTCN:
    """:class:`GainTCN` with knobs that stand still, in its weights as they are now."""

    def __init__(self, network: GainTCN, knobs: Float[Tensor, " knob"]) -> None:
        self.network, self.knobs = network, knobs
        gain, *layers, shapes = (part[0, :, 0] for part in network._settings(knobs[None]))
        self.gain = network.gain.settled(gain)
        self.input = network.input.weight[..., 0], network.input.bias[:, None]
        self.layers = [
            cast(GatedLayer, layer).settled(own)
            for layer, own in zip(network.layers, layers, strict=True)
        ]
        self.head = network.head.weight[..., 0], network.head.bias[:, None]
        self.filter = network.filter.settled(shapes)

    @torch.no_grad()
    def __call__(
        self, block: Float[Tensor, "batch 1 time"], state: EffectState
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        if block.shape[-1] > SHORT_BLOCK:
            return self.network.step(block, self.knobs.expand(len(block), -1), state)
        *pasts, unfiltered, followed, smoothed = state
        dry = block.transpose(0, 1)
        gain, envelope, followed, smoothed = self.gain(dry, followed, smoothed)
        ridden = gain.mul_(dry)
        seen = torch.cat([dry, ridden, envelope])
        hidden = torch.addmm(self.input[1], self.input[0], seen.view(len(seen), -1))
        hidden = hidden.view(-1, *dry.shape[1:])
        kept = []
        for layer, past in zip(self.layers, pasts, strict=True):
            hidden, past = layer(hidden, past)
            kept.append(past)
        heads = torch.addmm(self.head[1], self.head[0], hidden.view(len(hidden), -1))
        before, after = heads.view(2, *dry.shape).unbind()
        filtered, unfiltered = self.filter(ridden.add_(before), unfiltered)
        wet = filtered.add_(after).transpose(0, 1)
        return wet, (*kept, unfiltered, followed, smoothed)


def _near(found: NormalEquations, common: Float[Tensor, " taps"]) -> Float[Tensor, " taps"]:
    """Return a setting's own filter, drawn to the common one where its sound says little."""
    left = found._replace(cross=found.cross - found.gram @ common)
    return common + left.solve(FILTER_RIDGE)


def _start_curve(knee: Pointwise, curve: Pointwise) -> None:
    """Begin with curves that rise with the level, from one knee on or another."""
    width = knee.out_channels
    levels = torch.linspace(*KNEES_DB, width) * (LEVEL_SCALE * math.log(10.0) / 10.0)
    with torch.no_grad():
        knee.weight.fill_(KNEE_SHARPNESS)
        knee.bias.copy_(-KNEE_SHARPNESS * levels)
    nn.init.uniform_(curve.weight, 0.0, 2.0 / width)
    _zero_bias(curve)


def _zero_bias(layer: Pointwise) -> None:
    nn.init.zeros_(layer.bias)


def _log_rates(seconds: tuple[float, float], count: int, sample_rate: int) -> Tensor:
    """Return logarithms of rates per sample whose times are spread between two."""
    first, last = (-math.log(time * sample_rate) for time in seconds)
    return torch.linspace(first, last, count)
