"""The largest singular value, estimated, against the whole decomposition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audiform.errors import ConfigError
from audiform.training.regularizers import (
    SingularValueConfig,
    largest_singular_value,
    singular_value_penalty,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (7, 1)])
def test_at_full_rank_the_value_and_its_gradient_are_exact(shape):
    matrix = torch.randn(shape, generator=generator(1), dtype=torch.float64, requires_grad=True)
    value = largest_singular_value(matrix, generator(), rank=min(shape), iterations=0)
    expected = torch.linalg.matrix_norm(matrix, 2)
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, matrix)
    (wanted,) = torch.autograd.grad(expected, matrix)
    torch.testing.assert_close(gradient, wanted)


def test_at_low_rank_it_is_near_and_never_above():
    for seed in range(20):
        matrix = torch.randn(48, 200, generator=generator(seed))
        found = largest_singular_value(matrix, generator(seed + 100), rank=4, iterations=3)
        expected = torch.linalg.matrix_norm(matrix, 2)
        assert 0.9 * expected < found <= expected * (1 + 1e-5)


def test_the_penalty_counts_large_weights_as_rows_of_channels_out():
    network = nn.Sequential(nn.Conv1d(8, 16, 5), nn.GroupNorm(2, 16), nn.Linear(2, 2))
    config = SingularValueConfig(penalty=0.5, rank=16, min_size_mb=0.001)
    found = singular_value_penalty(network, config, generator())
    largest = torch.linalg.matrix_norm(network[0].weight.reshape(16, 40), 2)
    torch.testing.assert_close(found, 0.5 * largest.square())
    found.backward()
    assert network[0].weight.grad is not None
    assert network[2].weight.grad is None


def test_equal_generators_give_equal_penalties():
    network, config = nn.Linear(64, 64), SingularValueConfig(rank=1, iterations=0, min_size_mb=0)
    values = [singular_value_penalty(network, config, generator(s)).item() for s in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_no_weight_that_counts_is_an_error():
    with pytest.raises(ConfigError, match=r"lower singular_values\.min_size_mb"):
        singular_value_penalty(nn.Linear(2, 2), SingularValueConfig(), generator())
