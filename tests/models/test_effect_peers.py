"""The networks that users of other tools know have those tools' numbers of weights."""

import pytest
import torch
from pydantic import ValidationError

from audiform.knob import Knob
from audiform.models.effect_rnn import EffectRNN, EffectRNNConfig
from audiform.models.effect_tcn import EffectTCN, EffectTCNConfig
from audiform.models.nam_wavenet import NamWaveNet, NamWaveNetConfig, StackConfig

TWO_KNOBS = tuple(Knob(name=name, minimum=0.0, maximum=1.0, default=0.5) for name in "ab")


def weights(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("hidden_channels", "knobs", "expected"),
    [(32, (), 4_513), (40, (), 6_921), (64, (), 17_217), (32, TWO_KNOBS, 4_769)],
)
def test_recurrent_networks_have_the_published_weights(hidden_channels, knobs, expected) -> None:
    config = EffectRNNConfig(knobs=knobs, hidden_channels=hidden_channels)
    assert weights(EffectRNN(config)) == expected


@pytest.mark.parametrize(
    ("receptive_ms", "expected", "measured_ms"),
    [(100, 25_905, 101), (300, 50_737, 302), (1000, 33_201, 1008)],
)
def test_micro_tcn_has_its_published_weights(receptive_ms, expected, measured_ms) -> None:
    config = EffectTCNConfig.published(receptive_ms, knobs=TWO_KNOBS)
    assert weights(EffectTCN(config)) == expected
    samples = config.receptive_samples + 1
    assert round(1000 * samples / config.sample_rate) == measured_ms


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("standard", 13_802),
        ("lite", 6_554),
        ("feather", 3_026),
        ("nano", 842),
        ("a2-full", 12_146),
        ("a2-lite", 1_871),
    ],
)
def test_wavenets_have_the_published_weights(shape, expected) -> None:
    config = NamWaveNetConfig.published(shape)
    last = config.stacks[-1].channels
    dropped = last * last + last  # the last layer's way to a next one, which files have
    assert weights(NamWaveNet(config)) + dropped + 1 == expected  # and the head's scale


def test_wavenets_reach_as_far_back_as_published() -> None:
    assert NamWaveNetConfig.published("standard").receptive_samples == 4092
    assert NamWaveNetConfig.published("a2-full").receptive_samples == 6346


def test_a_gru_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    network = EffectRNN(EffectRNNConfig(unit="gru", hidden_channels=4, skip=False)).eval()
    dry, knobs = 0.3 * torch.randn(2, 1, 300), torch.zeros(2, 0)
    with torch.inference_mode():
        first, state = network.step(dry[..., :100], knobs, network.initial_state(2))
        second, _ = network.step(dry[..., 100:], knobs, state)
        torch.testing.assert_close(torch.cat([first, second], dim=-1), network(dry, knobs))
    assert [part.shape for part in state] == [(2, 1, 4)]


def test_a_recurrent_network_without_skip_is_the_one_with_it_less_the_dry_sound() -> None:
    torch.manual_seed(0)
    config = EffectRNNConfig(hidden_channels=4)
    network = EffectRNN(config)
    other = EffectRNN(config.model_copy(update={"skip": False}))
    other.load_state_dict(network.state_dict())
    dry, knobs = 0.3 * torch.randn(1, 1, 100), torch.zeros(1, 0)
    torch.testing.assert_close(network(dry, knobs) - dry, other(dry, knobs))


def test_stacks_that_do_not_fit_are_refused() -> None:
    stack = StackConfig(channels=4, head_channels=2, kernel_sizes=(3,), dilations=(1,))
    with pytest.raises(ValidationError, match="one for each"):
        StackConfig(channels=4, head_channels=2, kernel_sizes=(3,), dilations=(1, 2))
    with pytest.raises(ValidationError, match="the last head has 2"):
        NamWaveNetConfig(stacks=(stack,))
    with pytest.raises(ValidationError, match="same number"):
        NamWaveNetConfig(stacks=(stack, stack.model_copy(update={"channels": 3})))
