"""GainTCN with all its options: one pass, blocks, training, and what it can be told beforehand."""

from __future__ import annotations

import math

import pytest
import torch

from audiform.dsp.least_squares_filter import normal_equations
from audiform.knob import Knob
from audiform.models.gain_tcn import GainTCN, GainTCNConfig
from audiform.training.effect_start import Material, fit_start
from tests.models_for_tests import TINY_GAIN_TCN

#: Blocks and one pass, in float32.
SAME = 1e-5

ALL = TINY_GAIN_TCN.model_copy(update={"filter_tails": 3, "num_averages": 2, "sample_rate": 8000})


def build() -> GainTCN:
    torch.manual_seed(0)
    network = GainTCN(ALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network.eval()


def noise(count: int, *, batch: int = 1, seed: int = 1) -> torch.Tensor:
    """Return noise whose loudness comes and goes."""
    generator = torch.Generator().manual_seed(seed)
    sound = 0.2 * torch.randn(batch, 1, count, generator=generator)
    return sound * (1.1 + torch.sin(torch.arange(count) / 700))


KNOBS = torch.tensor([[-0.4, 0.1], [0.3, 0.5]])


@pytest.mark.parametrize("size", [1, 64, 600])
def test_blocks_are_one_pass(size) -> None:
    network, dry = build(), noise(600, batch=2)
    state, parts = network.initial_state(2), []
    with torch.inference_mode():
        whole = network(dry, KNOBS)
        for block in dry.split(size, dim=-1):
            wet, state = network.step(block, KNOBS, state)
            parts.append(wet)
    streamed = torch.cat(parts, dim=-1)[..., network.spec.latency_samples :]
    torch.testing.assert_close(streamed, whole[..., : streamed.shape[-1]], atol=SAME, rtol=0)


@pytest.mark.parametrize("size", [1, 100, 700])
def test_with_knobs_that_stand_still_it_is_the_same(size) -> None:
    network, dry = build(), noise(1400, batch=2)
    settled, state, other = network.settled(KNOBS[0]), *2 * [network.initial_state(2)]
    with torch.inference_mode():
        for block in dry.split(size, dim=-1)[:40]:
            wet, state = network.step(block, KNOBS[:1].expand(2, -1), state)
            found, other = settled(block, other)
            torch.testing.assert_close(found, wet, atol=SAME, rtol=0)
    for mine, theirs in zip(other, state, strict=True):
        torch.testing.assert_close(mine, theirs, atol=SAME, rtol=0)


def test_training_hears_what_a_pass_hears() -> None:
    network = build()
    spec = network.spec
    dry = noise(spec.context_samples + 500 + spec.latency_samples, batch=2)
    whole = network(dry, KNOBS)[..., spec.context_samples :][..., :500].detach()
    with torch.inference_mode():
        torch.testing.assert_close(network.predict(dry, KNOBS), whole, atol=SAME, rtol=0)


def test_silence_gives_silence_whatever_was_learned() -> None:
    network = build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    silence = torch.zeros(2, 1, 300)
    assert network(silence, KNOBS).abs().max() < 1e-7
    wet, _ = network.settled(KNOBS[0])(silence[:1], network.initial_state())
    assert wet.abs().max() < 1e-7


def test_every_parameter_learns() -> None:
    network = build().train()
    wet = network(noise(1200, batch=2), KNOBS)
    (wet * noise(1200, batch=2, seed=3)).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


def test_the_gain_of_hops_is_that_of_samples() -> None:
    torch.manual_seed(0)
    network = GainTCN(ALL)
    with torch.no_grad():
        network.gain.mix.weight.fill_(-0.3)
        network.gain.attack.fill_(math.log(1 / 200))
        dry = noise(8000)
        squares = dry[0, 0].square().reshape(1, -1, 8)
        slow = network.hop_gains(squares.amax(2), squares.mean(2), KNOBS[:1], hop_samples=8)
        settings = network._settings(KNOBS[:1])[0]
        fast = network.gain(dry, settings, network.gain.at_rest(1))[0][0]
    # from where the followers have forgotten how they began
    fast = fast.reshape(1, -1, 8).mean(2)[:, 500:]
    # of a gain that is far below one and moves
    assert (fast / slow[:, 500:]).log().abs().max() < 0.03 * fast.log().abs().min()
    assert fast.log().std() > 0.05


# What it can be told before it is trained --------------------------------------------------------

RATE = 8000
THRESHOLD = Knob(name="threshold_db", minimum=-40.0, maximum=0.0, default=-20.0)


def compressed(dry: torch.Tensor, *, threshold_db: float) -> torch.Tensor:
    """Return a slow compressor, a high-pass at 10 Hz and a smoothing over two samples."""
    level, gains, fall, rise = -90.0, [], math.exp(-1 / (0.3 * RATE)), math.exp(-1 / (0.01 * RATE))
    for sample in dry[0].tolist():
        now = 10 * math.log10(sample * sample + 1e-9)
        keep = rise if now > level else fall
        level = keep * level + (1 - keep) * now
        gains.append(-0.5 * max(0.0, level - threshold_db))
    ridden = (dry[0].double() * 10 ** (torch.tensor(gains, dtype=torch.double) / 20)).tolist()
    slow, last, out = 0.0, 0.0, []
    for sample in ridden:
        slow += (2 * math.pi * 10 / RATE) * (sample - slow)
        out.append(0.7 * (sample - slow) + 0.3 * last)
        last = sample - slow
    return torch.tensor([out], dtype=torch.float32)


def music(seed: int) -> torch.Tensor:
    """Return low and high notes of changing loudness, 4 s."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(4 * RATE) / RATE
    loud = 0.1 + 0.9 * torch.rand(32, generator=generator).repeat_interleave(RATE // 8)
    notes = torch.sin(2 * math.pi * 55 * time) + torch.sin(2 * math.pi * (400 + 90 * seed) * time)
    return (loud * (notes + 0.3 * torch.randn(len(time), generator=generator)))[None] / 3


def esr(estimate: torch.Tensor, wet: torch.Tensor) -> float:
    return float((estimate - wet).square().sum() / wet.square().sum())


def filter_alone(dry: torch.Tensor, wet: torch.Tensor, held_from: int) -> float:
    """Return the ESR of the best filter of 256 taps on what it was not fitted to."""
    heard = torch.nn.functional.pad(dry[0], (255, 0))
    taps = normal_equations(heard[: held_from + 255], wet[0, :held_from], num_taps=256).solve()
    filtered = torch.nn.functional.conv1d(heard[None, None].double(), taps.flip(0)[None, None])
    return esr(filtered[0, :, held_from:], wet[:, held_from:])


def test_the_start_is_better_than_a_filter_on_every_setting_it_saw() -> None:
    torch.manual_seed(0)
    config = GainTCNConfig(
        knobs=(THRESHOLD,), sample_rate=RATE, filter_tails=8, num_averages=2, filter_taps=64
    )
    network, held_from = GainTCN(config).eval(), 3 * RATE
    positions = [torch.tensor([place]) for place in (-0.5, -0.2, 0.1)]
    dry = [music(seed) for seed in range(3)]
    wet = [
        compressed(sound, threshold_db=40 * float(place) - 20)
        for sound, place in zip(dry, positions, strict=True)
    ]
    cut = [[sound[:, :held_from] for sound in side] for side in (dry, wet)]
    assert fit_start(network, Material(*cut, positions), steps=80) < 0.05
    for sound, target, place in zip(dry, wet, positions, strict=True):
        with torch.inference_mode():
            made = network(sound[None], place[None])[0]
        found = esr(made[:, held_from:], target[:, held_from:])
        floor = filter_alone(sound, target, held_from)
        assert found < 0.7 * floor


def test_what_is_no_gain_begins_with_a_filter_and_no_gain() -> None:
    torch.manual_seed(0)
    network = GainTCN(ALL.model_copy(update={"knobs": ()})).eval()
    dry = noise(2 * RATE)[0]
    fit_start(network, Material([dry], [0.5 * dry], [torch.zeros(0)]), steps=3)
    with torch.inference_mode():
        wet = network(dry[None], torch.zeros(1, 0))[0]
        gain = network._ride(dry[None], torch.zeros(1, 0))[0] / dry
    assert gain.std() < 1e-4
    assert esr(wet, 0.5 * dry) < 1e-6
