"""Running averages of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from audiform.training.config import AverageConfig


class WeightAverage:
    """An exponential moving average of a network's weights; other state is copied.

    With a decay d, update n counts for at least 1 - (1 + n) / (10 + n), so that the first
    weights are forgotten soon. (Demucs divides by the sum of what was counted instead, which
    lets a short run remember its beginning.)
    """

    def __init__(self, network: nn.Module, config: AverageConfig) -> None:
        self.config = config
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's present weights."""
        self.updates += 1
        decay = min(self.config.decay, (1 + self.updates) / (10 + self.updates))
        learned = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        for name, value in network.state_dict().items():
            if name in learned and value.is_floating_point():
                self.values[name].lerp_(value, 1.0 - decay)
            else:
                self.values[name].copy_(value)

    @contextmanager
    def in_place(self, network: nn.Module) -> Iterator[None]:
        """Let ``network`` have the averaged weights within."""
        kept = {name: value.detach().clone() for name, value in network.state_dict().items()}
        _put(network, self.values)
        try:
            yield
        finally:
            _put(network, kept)


@torch.no_grad()
def _put(network: nn.Module, values: dict[str, Tensor]) -> None:
    for name, value in network.state_dict().items():
        value.copy_(values[name])
