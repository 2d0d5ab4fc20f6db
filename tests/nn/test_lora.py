from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from audiform.errors import ConfigError
from audiform.nn.lora import (
    LoraConfig,
    adaptable_layers,
    adapter_state,
    add_adapters,
    load_adapter_state,
    merge_adapters,
)
from tests import models_for_tests


def tiny_htdemucs() -> nn.Module:
    torch.manual_seed(0)
    return models_for_tests.tiny_htdemucs()


def mixture() -> torch.Tensor:
    return torch.randn(2, 2, 22050, generator=torch.Generator().manual_seed(1))


def adapted(**options: object) -> nn.Module:
    network = tiny_htdemucs()
    torch.manual_seed(3)
    add_adapters(network, LoraConfig(rank=2, **options))
    return network


def trained(network: nn.Module) -> nn.Module:
    """Return ``network`` with adapters that change something."""
    generator = torch.Generator().manual_seed(4)
    for name, weight in network.named_parameters():
        if name.endswith(".up"):
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    return network


@torch.no_grad()
def test_an_adapted_network_begins_as_the_network_it_was() -> None:
    torch.testing.assert_close(
        adapted()(mixture()), tiny_htdemucs()(mixture()), atol=1e-6, rtol=1e-6
    )


@torch.no_grad()
def test_merged_weights_say_the_same_as_adapters() -> None:
    network = trained(adapted())
    before = network(mixture())
    original = tiny_htdemucs()
    assert (before - original(mixture())).abs().max() > 0.1 * before.std()
    merged = merge_adapters(network)
    torch.testing.assert_close(merged(mixture()), before, atol=1e-5 * before.std(), rtol=1e-5)
    assert merged.state_dict().keys() == original.state_dict().keys()
    assert all(parameter.requires_grad for parameter in merged.parameters())


def test_adapters_and_extras_alone_get_gradients_and_all_of_them_do() -> None:
    extras = ("*_decoder.2.convolution.*",)
    network = trained(adapted(extras=extras)).train()
    network(mixture()).square().sum().backward()
    for name, parameter in network.named_parameters():
        wanted = name.endswith((".up", ".down")) or "_decoder.2.convolution." in name
        assert (parameter.grad is not None) == wanted, name
        if wanted:
            assert parameter.grad.abs().max() > 0, name


def test_every_linear_layer_and_convolution_of_width_one_is_adapted() -> None:
    network = tiny_htdemucs()
    chosen = add_adapters(network, LoraConfig(rank=1))
    assert "transformer.spectrum_layers.1.attention.query_key_value" in chosen  # cross-attention
    assert "transformer.waveform_layers.0.feed_forward.expand" in chosen
    assert "spectrum_encoder.0.gate" in chosen
    assert "waveform_widen" in chosen
    assert "waveform_encoder.0.convolution" not in chosen
    assert set(chosen) <= set(adaptable_layers(tiny_htdemucs()))


def test_the_change_has_the_size_that_was_asked_for() -> None:
    layer = nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 2))
    add_adapters(layer, LoraConfig(rank=4, alpha=2.0))
    state = adapter_state(layer)
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "0.down": (4, 30), "0.up": (20, 4), "1.down": (2, 20), "1.up": (2, 2),
    }  # fmt: skip
    before = layer[0].weight.detach().clone()
    load_adapter_state(layer, {name: torch.ones_like(tensor) for name, tensor in state.items()})
    torch.testing.assert_close(layer[0].weight - before, torch.full((20, 30), 4 * 2.0 / 4))


def test_a_copy_has_adapters_of_its_own() -> None:
    network = trained(adapted())
    twin = copy.deepcopy(network)
    with torch.no_grad():
        torch.testing.assert_close(twin(mixture()), network(mixture()))
        merge_adapters(twin)
    assert adapter_state(network) and not adapter_state(twin)


def test_a_step_leaves_the_frozen_weights_as_they_are() -> None:
    network = trained(adapted()).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    network(mixture()).square().sum().backward()
    optimiser.step()
    changed = {
        name for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {name for name in before if name.endswith((".up", ".down"))}


def test_what_cannot_be_is_said() -> None:
    network = tiny_htdemucs()
    with pytest.raises(ConfigError, match=r"lora.targets has the pattern 'no_such.\*'"):
        add_adapters(network, LoraConfig(targets=("no_such.*",)))
    with pytest.raises(ConfigError, match=r"lora.extras"):
        add_adapters(network, LoraConfig(extras=("no_such.*",)))
    with pytest.raises(ConfigError, match="leave it out of one"):
        add_adapters(tiny_htdemucs(), LoraConfig(extras=("waveform_widen.weight",)))
    with pytest.raises(ConfigError, match="adapters already"):
        add_adapters(adapted(), LoraConfig())
    with pytest.raises(ConfigError, match="do not fit"):
        load_adapter_state(adapted(), adapter_state(adapted(targets=("transformer.*",))))
