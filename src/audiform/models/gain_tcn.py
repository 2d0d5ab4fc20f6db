"""GainTCN: a gain with a memory of seconds, gated convolutions, a filter; for use while playing.

Three parts, all set by the knobs. The gain stage is a compressor whose curve and times are
learned: the level of each sample goes through a small network (the static curve), its results
through peak followers with a release and smoothers with an attack, and what another small
network makes of those is a gain in nepers. A temporal convolutional network with gates sees the
dry signal, the signal after the gain and what the followers say, and adds what a gain cannot do:
distortion, short echoes. Last comes a filter of some hundred taps: the linear colour of a device,
which decides most of the error on compressors and which least squares give before any training
(:meth:`GainTCN.fit_filter`). What the convolutions add is half before, half after the filter.

Silence gives silence, whatever was learned: levels are bent relative to that of silence, and what
each layer adds is what it lets through beyond what it would in silence.

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
from audiform.nn.gain_stage import GainStage
from audiform.nn.pointwise import Mixing
from audiform.nn.settable_filter import TAIL_SECONDS, SettableFilter
from audiform.nn.settled import SettledGatedLayer
from audiform.nn.streamed_effect import PASS_SAMPLES, StreamedEffect
from audiform.protocols import EffectSpec, EffectState

#: How much of the sound before a training segment the gain stage learns from; before that it
#: only listens.
LEARNED_SECONDS = 0.5

#: Hops of a minute in which followers come to rest.
REST_HOPS = 8

#: Ridges of the first fit, as shares of the energy: of filters, of what knobs do to them.
FILTER_RIDGE, SETTINGS_RIDGE = 1e-6, 1e-4


class GainTCNConfig(BaseModel):
    """Hyper-parameters of :class:`GainTCN`.

    - ``hidden_channels``, ``kernel_size``, ``dilations``: of the convolutions, one layer for each
      dilation.
    - ``num_followers``: peak followers, each with a smoother; ``curve_channels``: width of the
      network before them; ``knob_channels``: of the one that the knobs go through.
    - ``num_averages``: mean squares over short times, whose levels that network sees beside the
      level of the sample: detectors of devices average.
    - ``filter_taps`` and ``filter_tails`` (what fades, for low frequencies) of the last filter,
      and ``filter_shapes`` that knobs mix into it.
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
    num_averages: NonNegativeInt = 0
    curve_channels: PositiveInt = 16
    knob_channels: PositiveInt = 32
    filter_taps: PositiveInt = 384
    filter_tails: NonNegativeInt = 0
    filter_shapes: NonNegativeInt = 6
    look_ahead_samples: Annotated[int, Field(ge=0, le=4096)] = 0
    look_back_seconds: Annotated[float, Field(ge=0, le=60)] = 3.0

    @property
    def receptive_samples(self) -> int:
        """Samples before one that the convolutions and the filter see."""
        return (self.kernel_size - 1) * sum(self.dilations) + self.filter_taps - 1


class GatedLayer(nn.Module):
    """A causal convolution, gained and shifted by the knobs, through a gate; residual."""

    def __init__(self, channels: int, *, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.convolution = CausalConvolution(
            channels, 2 * channels, kernel_size=kernel_size, dilation=dilation
        )
        self.output = Mixing(channels, channels)
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
        passed = _gated(torch.addcmul(shift, convolved, gain))
        return hidden + self.output(passed - self._silent(gain, shift)), past

    def _silent(
        self, gain: Float[Tensor, "batch setting 1"], shift: Float[Tensor, "batch setting 1"]
    ) -> Float[Tensor, "batch channels 1"]:
        """Return what the gate lets through in silence."""
        bias = self.convolution.bias
        assert bias is not None
        return _gated(torch.addcmul(shift, bias[:, None], gain))

    def settled(self, settings: Float[Tensor, " setting"]) -> SettledGatedLayer:
        """Return the layer with these settings in its weights."""
        gain, shift = settings.chunk(2)
        bias = self.convolution.bias
        assert bias is not None
        silent = self._silent(gain[None, :, None], shift[None, :, None])[0, :, 0]
        output = self.output.weight[..., 0]
        return SettledGatedLayer(
            gain[:, None, None] * self.convolution.weight,
            gain * bias + shift,
            output,
            -output @ silent,
            dilation=self.convolution.dilation,
        )


class GainTCN(StreamedEffect):
    """Learned effect for use while playing; see the module's text."""

    neutral: Tensor

    def __init__(self, config: GainTCNConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.hidden_channels
        self.gain = GainStage(
            config.num_followers,
            config.curve_channels,
            num_averages=config.num_averages,
            sample_rate=config.sample_rate,
        )
        # Dry, dry after the gain, envelopes.
        self.input = Mixing(2 + config.num_followers, channels)
        layers = [
            GatedLayer(channels, kernel_size=config.kernel_size, dilation=dilation)
            for dilation in config.dilations
        ]
        self.layers = nn.ModuleList(layers)
        # Before and after the filter.
        self.head = Mixing(channels, 2)
        nn.init.zeros_(self.head.weight)  # it starts as the dry signal
        self.filter = SettableFilter(
            config.filter_taps,
            config.filter_shapes,
            num_tails=config.filter_tails,
            sample_rate=config.sample_rate,
        )
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
        return (*pasts, *self.filter.initial_state(batch_size), *self.gain.at_rest(batch_size))

    def step(
        self,
        block: Float[Tensor, "batch 1 time"],
        knobs: Float[Tensor, "batch knob"],
        state: EffectState,
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        pasts, unfiltered, levels = self._parts(state)
        settings = self._settings(knobs)
        gain, envelope, levels = self.gain(block, settings[0], levels)
        ridden = block * gain
        seen = torch.cat([block, ridden, envelope], dim=1)
        hidden = self.input(seen)
        kept = []
        for layer, own, past in zip(self.layers, settings[1:-1], pasts, strict=True):
            hidden, past = layer(hidden, own, past)
            kept.append(past)
        before, after = self.head(hidden).split(1, dim=1)
        filtered, unfiltered = self.filter(ridden + before, settings[-1], unfiltered)
        return filtered + after, (*kept, *unfiltered, *levels)

    def _parts(self, state: EffectState) -> tuple[EffectState, EffectState, EffectState]:
        """Return the states of the convolutions, the filter and the gain stage."""
        first = len(self.past_samples)
        second = first + (2 if self.config.filter_tails else 1)
        return state[:first], state[first:second], state[second:]

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
        seen_from = max(0, spec.context_samples + ahead - self._seen_samples)
        learned = round(LEARNED_SECONDS * config.sample_rate) if torch.is_grad_enabled() else 0
        learned_from = max(0, seen_from - learned)
        settings = self._settings(knobs)[0]
        state = self.initial_state(len(dry))
        with torch.no_grad():
            state = self._listen(dry[..., :learned_from], settings, state)
        state = self._listen(dry[..., learned_from:seen_from], settings, state)
        wet = self.run(dry[..., seen_from:], knobs, state)
        return wet[..., spec.context_samples + ahead - seen_from :]

    @property
    def _seen_samples(self) -> int:
        """Samples before the first wet one that all parts hear: more where nothing is learned,
        so that tails know what the convolutions added."""
        faded = bool(self.config.filter_tails) and not torch.is_grad_enabled()
        tail = math.ceil(5 * TAIL_SECONDS[1] * self.config.sample_rate) if faded else 0
        return self.config.receptive_samples + tail

    def _listen(self, dry: Tensor, settings: Tensor, state: EffectState) -> EffectState:
        """Return the state after ``dry``, of the gain stage and of the filter's tails alone."""
        pasts, (unfiltered, *tails), levels = self._parts(state)
        for block in dry.split(PASS_SAMPLES, dim=-1):
            if block.shape[-1]:
                gain, _, levels = self.gain(block, settings, levels)
                if tails:
                    tails = [self.filter.tails(block * gain, tails[0])[1]]
        return (*pasts, unfiltered, *tails, *levels)

    @torch.no_grad()
    def fit_filter(
        self,
        dry: Sequence[Float[Tensor, "1 time"]],
        wet: Sequence[Float[Tensor, "1 time"]],
        knobs: Sequence[Float[Tensor, " knob"]],
    ) -> Float[Tensor, " piece"]:
        """Take the filters that bring what the gain stage gives closest to ``wet``.

        One filter for each setting by least squares; their mean is the filter, their principal
        differences its shapes, and a ridge regression says how knobs mix those. Returns which
        share of each piece's setting's energy the filters, as the knobs mix them, leave as error.
        """
        sums: dict[tuple[float, ...], NormalEquations] = {}
        taps, ahead = self.config.filter_taps, self.config.look_ahead_samples
        keys = [tuple(own.tolist()) for own in knobs]
        for own_dry, own_wet, own_knobs, key in zip(dry, wet, knobs, keys, strict=True):
            ridden = self._ride(own_dry[None], own_knobs[None])
            cut = max(0, own_wet.shape[-1] - ahead)
            tails = self.filter.tails(ridden, self.filter.tails_at_rest(1))[0][0]
            found = normal_equations(
                F.pad(ridden[0, 0], (taps - 1, 0))[ahead : ahead + cut + taps - 1],
                own_wet[0, :cut],
                num_taps=taps,
                beside=tails[:, ahead : ahead + cut],
            )
            sums[key] = sums[key].plus(found) if key in sums else found
        common = reduce(NormalEquations.plus, sums.values()).solve(FILTER_RIDGE)
        # a setting's filter differs from the common one where its own sound says so
        own = torch.stack([_near(found, common) for found in sums.values()])
        self.filter.start(own.float())
        positions = torch.tensor(list(sums)).reshape(len(sums), -1).to(knobs[0])
        self._start_settings(positions, self.filter.coefficients(own.float()))
        mixed = self.filter.mixed(self._settings(positions)[-1]).double()
        left = {
            key: found.error(taps) for (key, found), taps in zip(sums.items(), mixed, strict=True)
        }
        return torch.tensor([left[key] for key in keys])

    def hop_gains(
        self,
        highest: Float[Tensor, "piece hop"],
        mean: Float[Tensor, "piece hop"],
        knobs: Float[Tensor, "piece knob"],
        *,
        hop_samples: int,
    ) -> Float[Tensor, "piece hop"]:
        """Return the gain of each hop of a sound, from the highest and the mean square in each.

        What the gain stage gives sample by sample, but for what happens within a hop; at a small
        part of its cost. It begins at rest at the level of the first hop.
        """
        settings = self._settings(knobs)[0]
        sides = highest[:, None], mean[:, None]
        first = [side[..., :1].expand(-1, -1, REST_HOPS) for side in sides]
        rest = self.gain.at_rest(len(highest))
        *_, state = self.gain.of_squares(
            first[0], first[1], settings, rest, hop_samples=self._minute
        )
        gain, *_ = self.gain.of_squares(
            sides[0], sides[1], settings, state, hop_samples=hop_samples
        )
        return gain[:, 0]

    @property
    def _minute(self) -> int:
        """Samples of a minute, a hop after which followers are near where they were going."""
        return 60 * self.config.sample_rate

    def coloured(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 time"]:
        """Return what the filter alone makes of ``dry``, undelayed, at its length."""
        ahead, silence = self.config.look_ahead_samples, self.filter.initial_state(len(dry))
        filtered, _ = self.filter(F.pad(dry, (0, ahead)), self._settings(knobs)[-1], silence)
        return filtered[..., ahead:]

    def gain_parameters(self) -> list[nn.Parameter]:
        """Return what decides the gain, and with it what knobs set."""
        return [*self.gain.parameters(), *self.from_knobs.parameters()]

    def _ride(self, dry: Tensor, knobs: Tensor) -> Tensor:
        """Return ``dry`` after the gain stage."""
        settings, parts, levels = self._settings(knobs)[0], [], self.gain.at_rest(len(dry))
        for block in dry.split(PASS_SAMPLES, dim=-1):
            gain, _, levels = self.gain(block, settings, levels)
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
        self.input = network.input.weight[..., 0]
        self.layers = [
            cast(GatedLayer, layer).settled(own)
            for layer, own in zip(network.layers, layers, strict=True)
        ]
        self.head = network.head.weight[..., 0]
        self.filter = network.filter.settled(shapes)

    @torch.no_grad()
    def __call__(
        self, block: Float[Tensor, "batch 1 time"], state: EffectState
    ) -> tuple[Float[Tensor, "batch 1 time"], EffectState]:
        """Take the next block of dry audio and return wet audio of its length, and the state."""
        if block.shape[-1] > SHORT_BLOCK:
            return self.network.step(block, self.knobs.expand(len(block), -1), state)
        pasts, unfiltered, levels = self.network._parts(state)
        dry = block.transpose(0, 1)
        gain, envelope, levels = self.gain(dry, levels)
        ridden = gain.mul_(dry)
        seen = torch.cat([dry, ridden, envelope])
        hidden = self.input @ seen.view(len(seen), -1)
        hidden = hidden.view(-1, *dry.shape[1:])
        kept = []
        for layer, past in zip(self.layers, pasts, strict=True):
            hidden, past = layer(hidden, past)
            kept.append(past)
        heads = self.head @ hidden.view(len(hidden), -1)
        before, after = heads.view(2, *dry.shape).unbind()
        filtered, unfiltered = self.filter(ridden.add_(before), unfiltered)
        wet = filtered.add_(after).transpose(0, 1)
        return wet, (*kept, *unfiltered, *levels)


def _gated(features: Float[Tensor, "batch twice_channels time"]) -> Tensor:
    """Return half of the features, bent, as far as the other half lets them through."""
    value, gate = features.chunk(2, dim=1)
    return value.tanh() * gate.sigmoid()


def _near(found: NormalEquations, common: Float[Tensor, " taps"]) -> Float[Tensor, " taps"]:
    """Return a setting's own filter, drawn to the common one where its sound says little."""
    left = found._replace(cross=found.cross - found.gram @ common)
    return common + left.solve(FILTER_RIDGE)
