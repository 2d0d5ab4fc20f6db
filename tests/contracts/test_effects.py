"""What every reference effect promises; a new entry of ``EFFECTS`` is held to it by being there."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

import audiform.effects
from audiform.effects import EFFECTS, find_effect
from audiform.errors import ConfigError

RATE = 8000

every_effect = pytest.mark.parametrize("name", EFFECTS)


def sound(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(*(shape or (2, 6001)), generator=torch.Generator().manual_seed(1))


def ends(name: str) -> list[dict[str, float]]:
    """Every corner of the box that the knobs span."""
    knobs = EFFECTS[name].knobs
    corners = itertools.product(*[(knob.minimum, knob.maximum) for knob in knobs])
    return [dict(zip([knob.name for knob in knobs], corner, strict=True)) for corner in corners]


def test_every_file_is_in_the_table() -> None:
    folder = Path(audiform.effects.__file__).parent
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py")} - {"--init--"}
    assert files <= set(EFFECTS)


def test_an_effect_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(ConfigError, match="compressor"):
        find_effect("flanger")


@every_effect
def test_each_knob_changes_the_output(name) -> None:
    effect = EFFECTS[name]
    dry = sound()
    neutral = {knob.name: knob.from_network(0.1) for knob in effect.knobs}
    usual = effect.apply(dry, RATE, **neutral)
    for knob in effect.knobs:
        for position in (-0.4, 0.45):
            changed = {**neutral, knob.name: knob.from_network(position)}
            wet = effect.apply(dry, RATE, **changed)
            assert (wet - usual).abs().max() > 1e-4, knob.name


@every_effect
def test_the_ends_of_every_range_give_finite_sound(name) -> None:
    for settings in ends(name):
        for rate in (RATE, 96000):
            wet = EFFECTS[name].apply(sound(800), rate, **settings)
            assert torch.isfinite(wet).all(), settings
            assert wet.abs().max() < 60.0, settings


@every_effect
@pytest.mark.parametrize("sizes", [(1, 17, 64, 512), (1000,), (3, 0, 2998)])
def test_blocks_give_what_one_pass_gives(name, sizes) -> None:
    effect, dry = EFFECTS[name], sound(2, 3001)
    whole = effect.apply(dry, RATE)
    state, start, wet = None, 0, []
    for size in itertools.cycle(sizes):
        block, state = effect.step(dry[:, start : start + size], state, RATE)
        wet.append(block)
        start += size
        if start >= dry.shape[-1]:
            break
    assert torch.allclose(torch.cat(wet, dim=-1), whole, atol=1e-6)
    if name != "distortion":  # the only one without a past
        afresh = effect.apply(dry[:, 1500:], RATE)
        assert not torch.allclose(afresh, whole[:, 1500:], atol=1e-6)


@every_effect
def test_a_state_can_be_gone_on_from_twice(name) -> None:
    effect, dry = EFFECTS[name], sound()
    _, state = effect.step(dry, None, RATE)
    first, again = (effect.step(dry, state, RATE)[0] for _ in range(2))
    assert torch.equal(first, again)


@every_effect
def test_silence_gives_silence(name) -> None:
    assert EFFECTS[name].apply(torch.zeros(1, 3000), RATE).abs().max() < 1e-7


@every_effect
def test_rows_are_kept_apart_and_the_caller_s_are_left_alone(name) -> None:
    dry = sound(3, 2, 700)
    before = dry.clone()
    wet = EFFECTS[name].apply(dry, RATE)
    assert wet.shape == dry.shape and wet.dtype == torch.float32
    assert torch.equal(dry, before)
    assert torch.allclose(wet[1, 1], EFFECTS[name].apply(dry[1, 1], RATE), atol=1e-6)


@every_effect
def test_double_precision_is_kept(name) -> None:
    dry = sound(1, 900).double()
    wet = EFFECTS[name].apply(dry, RATE)
    assert wet.dtype == torch.float64
    assert torch.allclose(wet.float(), EFFECTS[name].apply(dry.float(), RATE), atol=2e-5)


@every_effect
def test_a_knob_beyond_its_range_is_refused(name) -> None:
    knob = EFFECTS[name].knobs[0]
    with pytest.raises(ConfigError, match=knob.name):
        EFFECTS[name].apply(sound(10), RATE, **{knob.name: knob.maximum * 2 + 1})
