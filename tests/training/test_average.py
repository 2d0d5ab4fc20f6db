"""Running averages against their sums."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audiform.training.average import WeightAverage
from audiform.training.config import AverageConfig, TrainingConfig


def test_it_is_the_weighted_sum_of_what_the_weights_were():
    network = nn.Linear(1, 1)
    seen = [network.weight.item()]
    average = WeightAverage(network, AverageConfig(decay=0.4))
    for value in (1.0, 5.0, -2.0, 7.0):
        nn.init.constant_(network.weight, value)
        average.update(network)
        seen.append(value)
    expected = seen[0]
    for update, value in enumerate(seen[1:], start=1):
        decay = min(0.4, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    assert average.values["weight"].item() == pytest.approx(expected)


def test_running_statistics_are_copied_and_the_network_gets_its_own_back():
    network = nn.BatchNorm1d(2)
    average = WeightAverage(network, AverageConfig(decay=0.5))
    network(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)) + 3)
    nn.init.constant_(network.weight, 5.0)
    average.update(network)
    own = {name: value.clone() for name, value in network.state_dict().items()}
    with average.in_place(network):
        assert torch.equal(network.running_mean, own["running_mean"])
        assert network.num_batches_tracked == 1
        assert network.weight[0].item() == pytest.approx(1 * (2 / 11) + 5 * (9 / 11))
    assert all(torch.equal(value, own[name]) for name, value in network.state_dict().items())


def test_two_averages_of_one_name_are_refused():
    twice = (AverageConfig(decay=0.9), AverageConfig(decay=0.9))
    with pytest.raises(ValueError, match="must differ"):
        TrainingConfig(max_steps=1, averages=twice)
