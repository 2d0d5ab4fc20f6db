"""What a learned effect does that no recording shows: noise of its own, aliasing, and its cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from audiform.errors import AudioError
from audiform.knob import Knob, settings_to_network
from audiform.metrics.effects_noise import ResidualNoise, aliasing_by_tone_db, residual_noise
from audiform.protocols import EffectModel

#: Level of the steady tone under which noise is looked for, about 1 kHz.
TONE_DB = -12.0
TONE_HZ = 1000.0

#: So much of an answer is looked at, after as much again (or the look-back) to settle, in seconds.
LOOKED_AT_SECONDS = 0.5

#: Speed: so much sound at once, in blocks of so many samples, and for how long it is measured.
SPEED_SECONDS = 1.0
BLOCK_SAMPLES = 128
MEASURED_SECONDS = 0.5


@dataclass(frozen=True)
class Behaviour:
    """Figures at the default positions of the knobs.

    ``noise_in_silence`` and ``noise_under_tone`` are levels in dB: all, A-weighted, above 10 kHz;
    under the tone that part counts which does not repeat with it. ``aliasing_db`` by tone in Hz.
    ``realtime_whole`` and ``realtime_blocks`` are seconds of sound per second of computing.
    ``macs_per_sample`` counts products of matrices and convolutions of a step.
    """

    noise_in_silence: ResidualNoise
    noise_under_tone: ResidualNoise
    aliasing_db: dict[float, float]
    realtime_whole: float
    realtime_blocks: float
    block_samples: int
    macs_per_sample: float
    weights: int

    def sentence(self) -> str:
        """Say the most of it."""
        return (
            f"noise in silence {self.noise_in_silence.level_db:.0f} dB, under a tone "
            f"{self.noise_under_tone.level_db:.0f} dB; {self.realtime_whole:.1f} times real time "
            f"at once, {self.realtime_blocks:.1f} in blocks of {self.block_samples}; "
            f"{self.macs_per_sample:,.0f} multiplications per sample"
        )


def behaviour(network: EffectModel) -> Behaviour:
    """Measure ``network``; times are those of this machine, now."""
    process = at_defaults(network)
    rate = network.spec.sample_rate
    whole, blocks, size = _speed(network)
    return Behaviour(
        noise_in_silence=_in_silence(process, network),
        noise_under_tone=_under_tone(process, network),
        aliasing_db=_aliasing(process, rate),
        realtime_whole=whole,
        realtime_blocks=blocks,
        block_samples=size,
        macs_per_sample=_macs_per_sample(network),
        weights=sum(weight.numel() for weight in cast(nn.Module, network).parameters()),
    )


def default_positions(knobs: tuple[Knob, ...]) -> Float[Tensor, "1 knob"]:
    """Return the defaults in the network's range."""
    return settings_to_network(knobs, {knob.name: knob.default for knob in knobs})[None]


def at_defaults(
    network: EffectModel,
) -> Callable[[Float[Tensor, "1 time"]], Float[Tensor, "1 time"]]:
    """Return the effect with its knobs at their defaults, silence before."""
    positions = default_positions(network.spec.knobs)

    def process(dry: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(dry[None], positions)[0]

    return process


def _settled(network: EffectModel) -> tuple[int, int]:
    """Return samples to let go by and samples to look at."""
    looked_at = round(LOOKED_AT_SECONDS * network.spec.sample_rate)
    return max(looked_at, network.spec.context_samples), looked_at


def _in_silence(process: Callable[[Tensor], Tensor], network: EffectModel) -> ResidualNoise:
    before, looked_at = _settled(network)
    wet = process(torch.zeros(1, before + looked_at))[:, before:]
    return residual_noise(
        estimate=wet, reference=torch.zeros_like(wet), sample_rate=network.spec.sample_rate
    )


def _under_tone(process: Callable[[Tensor], Tensor], network: EffectModel) -> ResidualNoise:
    """Return what of the answer to a tone of a whole period does not repeat with it."""
    rate = network.spec.sample_rate
    period = max(2, round(rate / TONE_HZ))
    before, looked_at = _settled(network)
    before, looked_at = -(-before // period) * period, looked_at // period * period
    time = torch.arange(before + looked_at, dtype=torch.float64)
    tone = 10.0 ** (TONE_DB / 20.0) * torch.sin(2 * math.pi * time / period)
    wet = process(tone[None].float())[:, before:].double()
    repeating = wet.unflatten(-1, (-1, period)).mean(dim=-2)
    return residual_noise(
        estimate=wet,
        reference=repeating.repeat(1, looked_at // period),
        sample_rate=rate,
    )


def _aliasing(process: Callable[[Tensor], Tensor], rate: int) -> dict[float, float]:
    try:
        return aliasing_by_tone_db(process, sample_rate=rate)
    except AudioError:  # a rate so low that a tone does not fit
        return {}


def _speed(network: EffectModel) -> tuple[float, float, int]:
    """Return times real time, whole and in blocks, and the length of a block."""
    spec = network.spec
    rate = spec.sample_rate
    generator = torch.Generator().manual_seed(0)
    dry = 0.1 * torch.randn(1, 1, round(SPEED_SECONDS * rate), generator=generator)
    positions = default_positions(spec.knobs)
    size = -(-BLOCK_SAMPLES // spec.block_samples) * spec.block_samples
    block = dry[..., :size]
    if block.shape[-1] < size:
        block = torch.nn.functional.pad(block, (0, size - block.shape[-1]))
    with torch.inference_mode():
        whole = dry.shape[-1] / rate / _fastest(lambda: network(dry, positions))
        state = network.initial_state(1)
        blocks = size / rate / _fastest(lambda: network.step(block, positions, state))
    return whole, blocks, size


def _fastest(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest call: what the machine can when nothing else runs."""
    call()
    best, until = math.inf, time.perf_counter() + MEASURED_SECONDS
    while time.perf_counter() < until or math.isinf(best):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def _macs_per_sample(network: EffectModel) -> float:
    spec = network.spec
    size = -(-BLOCK_SAMPLES // spec.block_samples) * spec.block_samples
    block = torch.zeros(1, 1, size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.step(block, default_positions(spec.knobs), network.initial_state(1))
    recurrent = sum(
        weight.numel()
        for module in cast(nn.Module, network).modules()
        if isinstance(module, nn.RNNBase)
        for name, weight in module.named_parameters()
        if name.startswith("weight")
    )
    return counter.get_total_flops() / 2 / size + recurrent  # which counts no recurrent layers
