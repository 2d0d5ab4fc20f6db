from __future__ import annotations

import pytest
import torch

from audiform.augment.chain import AugmentChain
from audiform.augment.channel_swap import ChannelSwapConfig
from audiform.augment.gain import GainConfig
from audiform.augment.remix import RemixConfig
from audiform.augment.repitch import RepitchConfig
from audiform.augment.shift import ShiftConfig
from audiform.errors import ConfigError

STEPS = (
    RepitchConfig(share=0.5),
    ShiftConfig(seconds=0.2),
    ChannelSwapConfig(),
    GainConfig(),
    RemixConfig(group_size=2),
)
CHAIN = AugmentChain(STEPS, ("drums", "vocals"), 8000)


def stems(samples: int) -> torch.Tensor:
    return torch.randn(4, 2, 2, samples, generator=torch.Generator().manual_seed(0))


def test_the_input_is_as_long_as_all_steps_together_need() -> None:
    needed = CHAIN.input_samples(4000)
    assert needed > 4000 + 1600
    assert CHAIN.apply(stems(needed), torch.Generator().manual_seed(0)).shape[-1] == 4000


def test_a_chain_depends_on_its_generator_alone() -> None:
    audio = stems(8000)
    first = CHAIN.apply(audio, torch.Generator().manual_seed(1))
    torch.rand(3)
    assert torch.equal(first, CHAIN.apply(audio, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, CHAIN.apply(audio, torch.Generator().manual_seed(2)))


def test_what_was_drawn_can_be_repeated() -> None:
    audio = stems(8000)
    changed, drawn = CHAIN.trace(audio, torch.Generator().manual_seed(1))
    assert len(drawn) == len(STEPS)
    assert torch.equal(CHAIN.repeat(audio, drawn), changed)


def test_steps_are_applied_in_their_order() -> None:
    steps = (GainConfig(low=2.0, high=2.0), RemixConfig(group_size=4))
    chain = AugmentChain(steps, ("drums", "vocals"), 8000)
    audio = stems(10)
    changed, drawn = chain.trace(audio, torch.Generator().manual_seed(1))
    expected = 2.0 * audio[drawn[1].example, torch.arange(2)]
    assert torch.equal(changed, expected)


def test_no_steps_change_nothing() -> None:
    audio = stems(10)
    chain = AugmentChain((), ("drums", "vocals"), 8000)
    assert torch.equal(chain.apply(audio, torch.Generator()), audio)
    assert chain.input_samples(10) == 10


def test_other_sources_than_the_chain_s_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 sources"):
        CHAIN.apply(torch.zeros(4, 3, 2, 8000), torch.Generator())
