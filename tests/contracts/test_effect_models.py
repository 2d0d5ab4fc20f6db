"""What every learned effect promises. A new one in ``MODELS`` needs a tiny configuration here."""

import inspect
import itertools
import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from audiform.knob import HALF_RANGE
from audiform.models import MODELS
from audiform.protocols import EffectModel, step_at
from tests.models_for_tests import (
    KNOBS,
    TINY_EFFECT_RNN,
    TINY_EFFECT_TCN,
    TINY_FRAME_RESTORER,
    TINY_GAIN_TCN,
    TINY_GRID_ALIGNER,
    TINY_NAM_WAVENET,
    TINY_SIGNALTRAIN,
    TINY_SIGNALTRAIN_ATTENTION,
)

TINY = {
    "effect-rnn": TINY_EFFECT_RNN,
    "effect-tcn": TINY_EFFECT_TCN,
    "frame-restorer": TINY_FRAME_RESTORER,
    "gain-tcn": TINY_GAIN_TCN,
    "grid-aligner": TINY_GRID_ALIGNER,
    "nam-wavenet": TINY_NAM_WAVENET,
    "signaltrain": TINY_SIGNALTRAIN,
    "signaltrain-attention": TINY_SIGNALTRAIN_ATTENTION,
}
EFFECTS = {name: entry for name, entry in MODELS.items() if entry.is_effect}
KEYS = Path(__file__).parent / "state_keys.json"

#: Blocks and one pass, in float32; signals reach about 1.
SAME = 1e-5

every_effect = pytest.mark.parametrize("name", EFFECTS)


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network = EFFECTS[name].network(TINY[name])
    with torch.no_grad():  # no gain near zero, so that every part counts
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network.eval()


def play(length: int, *, batch: int = 1) -> torch.Tensor:
    noise = 0.3 * torch.randn(batch, 1, length, generator=torch.Generator().manual_seed(1))
    return noise * (1 + torch.sin(torch.arange(length) / 40))


def settings(batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(batch, len(KNOBS), generator=generator) - HALF_RANGE


def test_every_effect_has_a_tiny_configuration_here() -> None:
    assert set(TINY) == set(EFFECTS)
    for name, entry in EFFECTS.items():
        assert isinstance(TINY[name], entry.config)


@every_effect
def test_its_constructor_takes_a_configuration_and_nothing_else(name) -> None:
    assert list(inspect.signature(EFFECTS[name].network).parameters) == ["config"]


@every_effect
def test_it_is_what_the_engine_expects(name) -> None:
    network = build(name)
    assert isinstance(network, EffectModel)
    assert network.spec.knobs == network.config.knobs == KNOBS
    assert network.spec.context_samples > 0
    assert network.spec.block_samples > 0


@every_effect
@pytest.mark.parametrize("length", [1, 333, 512])
def test_the_length_is_kept(name, length) -> None:
    with torch.inference_mode():
        assert build(name)(play(length), settings(1)).shape == (1, 1, length)


@every_effect
def test_an_effect_without_knobs_works(name) -> None:
    network = EFFECTS[name].network(TINY[name].model_copy(update={"knobs": ()}))
    wet = network(play(200), torch.zeros(1, 0))
    assert wet.shape == (1, 1, 200)
    wet.square().sum().backward()


@every_effect
def test_a_batch_of_two_is_two_of_one(name) -> None:
    network, dry, knobs = build(name), play(500, batch=2), settings(2)
    with torch.inference_mode():
        both = network(dry, knobs)
        alone = [network(dry[i : i + 1], knobs[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(both, torch.cat(alone), atol=SAME, rtol=0)


@every_effect
def test_evaluation_repeats_exactly_and_leaves_its_inputs_alone(name) -> None:
    network, dry, knobs = build(name), play(500), settings(1)
    before = dry.clone(), knobs.clone()
    with torch.inference_mode():
        assert torch.equal(network(dry, knobs), network(dry, knobs))
    assert torch.equal(dry, before[0])
    assert torch.equal(knobs, before[1])


@every_effect
def test_with_and_without_gradients_it_computes_the_same(name) -> None:
    network, dry, knobs = build(name), play(500), settings(1)
    with torch.inference_mode():
        quick = network(dry, knobs)
    torch.testing.assert_close(quick, network(dry, knobs).detach(), atol=SAME, rtol=0)


@every_effect
@pytest.mark.parametrize("knob", range(len(KNOBS)))
def test_every_knob_changes_the_sound(name, knob) -> None:
    network, dry = build(name), play(500)
    low, high = torch.zeros(2, 1, len(KNOBS))
    low[0, knob], high[0, knob] = -HALF_RANGE, HALF_RANGE
    with torch.inference_mode():
        change = network(dry, low) - network(dry, high)
    assert change.abs().max() > 1e-4


@every_effect
def test_at_the_ends_of_all_ranges_the_sound_is_finite(name) -> None:
    network = build(name)
    ends = torch.tensor(list(itertools.product((-HALF_RANGE, HALF_RANGE), repeat=len(KNOBS))))
    click = torch.zeros(1, 1, 500)
    click[..., 250] = 1.0
    for dry in (play(500), 30 * play(500), 1e-9 * play(500), torch.zeros(1, 1, 500), click):
        with torch.inference_mode():
            assert torch.isfinite(network(dry.expand(len(ends), -1, -1), ends)).all()


@every_effect
@pytest.mark.parametrize("size", [1, 17, 64, 512, 4096])
def test_blocks_of_any_size_are_one_pass(name, size) -> None:
    network, knobs = build(name), settings(2)
    spec = network.spec
    size = -(-size // spec.block_samples) * spec.block_samples
    length = max(size, 1200 // size * size) + size
    dry = play(length, batch=2)
    state, parts = network.initial_state(batch_size=2), []
    with torch.inference_mode():
        whole = network(dry, knobs)
        for block in dry.split(size, dim=-1):
            wet, state = network.step(block, knobs, state)
            assert wet.shape == block.shape
            parts.append(wet)
    streamed = torch.cat(parts, dim=-1)[..., spec.latency_samples :]
    torch.testing.assert_close(streamed, whole[..., : streamed.shape[-1]], atol=SAME, rtol=0)


@every_effect
@pytest.mark.parametrize("size", [1, 128, 1500])
def test_knobs_that_stand_still_change_no_sample(name, size) -> None:
    network, knobs = build(name), settings(1)
    size = -(-size // network.spec.block_samples) * network.spec.block_samples
    settled = step_at(network, knobs[0])
    one = other = network.initial_state(batch_size=2)
    with torch.inference_mode():
        for block in play(3 * size, batch=2).split(size, dim=-1):
            wanted, after = network.step(block, knobs.expand(2, -1), one)
            found, settled_after = settled(block, other)
            torch.testing.assert_close(found, wanted, atol=SAME, rtol=0)
            one, other = settled_after, after  # a state passes from one to the other


@every_effect
def test_a_state_has_one_shape_and_can_be_kept(name) -> None:
    network, knobs = build(name), settings(1)
    first, second = play(2 * network.spec.block_samples).chunk(2, dim=-1)
    before = network.initial_state()
    with torch.inference_mode():
        _, state = network.step(first, knobs, before)
        kept = [tensor.clone() for tensor in state]
        one, _ = network.step(second, knobs, state)
        again, _ = network.step(second, knobs, tuple(kept))
    assert [tensor.shape for tensor in before] == [tensor.shape for tensor in state]
    assert torch.equal(one, again)


@every_effect
def test_training_sees_what_a_whole_pass_sees(name) -> None:
    network, knobs = build(name), settings(2)
    spec = network.spec
    wanted = 3 * max(spec.block_samples, 50)
    dry = play(spec.context_samples + wanted + spec.latency_samples, batch=2)
    with torch.inference_mode():
        found = network.predict(dry, knobs)
        # In a whole pass blocks begin at multiples of their length: so must what is compared.
        before = -(spec.context_samples + spec.latency_samples) % spec.block_samples
        whole = network(torch.cat([torch.zeros(2, 1, before), dry], dim=-1), knobs)
    assert found.shape == (2, 1, wanted)
    wet = whole[..., before + spec.context_samples :][..., :wanted]
    torch.testing.assert_close(found, wet, atol=SAME, rtol=0)


@every_effect
def test_it_hears_no_further_ahead_than_it_says(name) -> None:
    network, knobs = build(name), settings(1)
    spec, dry = network.spec, play(900)
    other = dry.clone()
    other[..., 700:] = 1.0
    with torch.inference_mode():
        change = (network(dry, knobs) - network(other, knobs)).abs()[0, 0]
    first = int(change.nonzero()[0])
    assert first >= 700 - spec.latency_samples - (spec.block_samples - 1)
    assert change[700:].max() > 1e-3


@every_effect
def test_the_configuration_survives_json(name) -> None:
    config = TINY[name]
    assert type(config).model_validate(json.loads(config.model_dump_json())) == config
    with pytest.raises(ValidationError):
        type(config).model_validate({"no_such_option": 1})


@every_effect
def test_state_keys_are_frozen(name) -> None:
    """Renaming a parameter makes every checkpoint out there unreadable."""
    found = {key: list(value.shape) for key, value in build(name).state_dict().items()}
    assert found == json.loads(KEYS.read_text())[name]


@every_effect
def test_every_parameter_learns(name) -> None:
    network = build(name).train()
    wet = network(play(1200, batch=2), settings(2))
    weights = torch.randn(wet.shape, generator=torch.Generator().manual_seed(3))
    (wet * weights).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key
