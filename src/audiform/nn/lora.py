"""Low-rank adapters: a network learns something new in a few weights beside its own.

E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685,
section 4.1. The weight W of a layer becomes W + (alpha / rank) * up @ down; W is frozen, down
begins random and up at zero, so that the adapted network begins as the network it was.

Differs from the paper in adapting every layer that multiplies each position by a matrix:
linear layers and convolutions of width 1, those inside attention among them. The sum is
formed before the layer runs, so a layer whose weight is used in parts (the queries of
cross-attention) needs no code of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatch

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import parametrize

from audiform.errors import ConfigError


class LoraConfig(BaseModel):
    """Which layers get adapters, and how large these are.

    ``rank`` is the rank of the change (a layer narrower than it gets its own width), ``alpha``
    over it the factor of the change. ``targets`` are patterns of the names of layers, such as
    ``transformer.*``; ``extras`` are patterns of the names of parameters that are trained
    whole, such as ``*_decoder.3.convolution.*``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: PositiveInt = 8
    alpha: PositiveFloat = 8.0
    targets: tuple[str, ...] = ("*",)
    extras: tuple[str, ...] = ()


class LowRankChange(nn.Module):
    """Adds a matrix of low rank to a weight; its axes after the first count as one."""

    def __init__(self, weight: Tensor, *, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        self.factor = alpha / rank
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows ..."]:
        """Return the changed weight."""
        return weight + (self.factor * (self.up @ self.down)).view_as(weight)


def adaptable_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that can get an adapter: linear ones, convolutions of width 1."""
    return {name: layer for name, layer in network.named_modules() if _is_adaptable(layer)}


def _is_adaptable(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return layer.groups == 1 and set(layer.kernel_size) == {1}
    return isinstance(layer, nn.Linear)


def add_adapters(network: nn.Module, config: LoraConfig) -> list[str]:
    """Give ``network`` adapters, freeze all else but the extras; return the adapted layers.

    The initial values of the adapters come from torch's global generator. Raises
    :class:`ConfigError` where a pattern fits nothing, or the network has adapters already.
    """
    if any(_adapters(network)):
        raise ConfigError("the network has adapters already; merge them before adding others")
    layers = adaptable_layers(network)
    chosen = _fitting(list(layers), config.targets, what="lora.targets")
    extras = extra_parameters(network, config)
    network.requires_grad_(False)
    for name in chosen:
        weight = layers[name].weight
        assert isinstance(weight, Tensor)
        change = LowRankChange(weight, rank=config.rank, alpha=config.alpha)
        parametrize.register_parametrization(layers[name], "weight", change)
    parameters = dict(network.named_parameters())
    for name in extras:
        layer, _, last = name.rpartition(".")
        if layer in chosen and last == "weight":
            raise ConfigError(
                f"{name} is in lora.extras and its layer in lora.targets; leave it out of one"
            )
        parameters[name].requires_grad_()
    return chosen


def extra_parameters(network: nn.Module, config: LoraConfig) -> list[str]:
    """Return the names of the parameters that are trained whole."""
    names = [name for name, _ in network.named_parameters()]
    return _fitting(names, config.extras, what="lora.extras")


def _fitting(names: list[str], patterns: tuple[str, ...], *, what: str) -> list[str]:
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise ConfigError(
                f"{what} has the pattern {pattern!r}, which no name fits; "
                f"names are such as {', '.join(names[:: max(1, len(names) // 8)][:8])}"
            )
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _adapters(network: nn.Module) -> Iterator[tuple[str, nn.Module, LowRankChange]]:
    """Yield name, layer and change of each adapted layer."""
    for name, layer in network.named_modules():
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        parts = layer.parametrizations
        assert isinstance(parts, nn.ModuleDict)
        for change in parts["weight"]:  # type: ignore[attr-defined]
            if isinstance(change, LowRankChange):
                yield name, layer, change


def adapter_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of the adapters: ``<layer>.down`` and ``<layer>.up``."""
    return {
        f"{name}.{part}": getattr(change, part).detach()
        for name, _, change in _adapters(network)
        for part in ("down", "up")
    }


@torch.no_grad()
def load_adapter_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Put tensors of :func:`adapter_state` into a network with adapters in the same places.

    Raises :class:`ConfigError` where names or shapes differ.
    """
    places = {
        f"{name}.{part}": getattr(change, part)
        for name, _, change in _adapters(network)
        for part in ("down", "up")
    }
    wrong = sorted(
        set(places) ^ set(state)
        | {name for name in set(places) & set(state) if places[name].shape != state[name].shape}
    )
    if wrong:
        raise ConfigError(
            f"the adapters do not fit the network: {len(wrong)} tensors differ, "
            f"{wrong[0]} among them; use the network that they were trained on"
        )
    for name, place in places.items():
        place.copy_(state[name])


@torch.no_grad()
def merge_adapters(network: nn.Module) -> nn.Module:
    """Make the adapters part of the weights, for good; returns the same ``network``.

    Its parameters have their plain names again, and all of them can be trained.
    """
    for _, layer, _ in list(_adapters(network)):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return network.requires_grad_()
