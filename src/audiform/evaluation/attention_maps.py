"""Where a learned effect looks: the weights of its attention while it answers a piece of sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.newest_attention import NewestAttention
from audiform.protocols import EffectModel


@dataclass(frozen=True)
class AttentionMap:
    """Weights of one attention by head; queries and keys newest first, as the network has them."""

    name: str
    weights: Float[Tensor, "head query key"]


def attention_maps(
    network: EffectModel, dry: Float[Tensor, "1 time"], positions: Float[Tensor, "1 knob"]
) -> list[AttentionMap]:
    """Return the weights of all attentions for the last block of ``dry``; none where there is none.

    ``dry`` holds look-back, one block and look-ahead.
    """
    found: dict[str, Tensor] = {}
    modules = cast(nn.Module, network).named_modules()
    handles = [
        module.register_forward_pre_hook(partial(_keep, found, name), with_kwargs=True)
        for name, module in modules
        if isinstance(module, NewestAttention)
    ]
    try:
        if handles:
            with torch.no_grad():
                network.predict(dry[None], positions)
    finally:
        for handle in handles:
            handle.remove()
    return [AttentionMap(name, weights) for name, weights in found.items()]


def _keep(
    found: dict[str, Tensor],
    name: str,
    module: nn.Module,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    assert isinstance(module, NewestAttention)
    found[name] = module.weights(*arguments, **named)[-1]
