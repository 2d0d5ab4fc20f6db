"""Layers that take a shorter way where no gradient is wanted: both ways give the same."""

import pytest
import torch
from torch import nn

from audiform.nn.residual_branch import ResidualBranches
from audiform.nn.transposed_convolution import raise_level
from audiform.nn.unet import along_time


@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("level", [0.0, 5.0])
def test_branches(sequence, level) -> None:
    torch.manual_seed(0)
    layer = ResidualBranches(
        16, compression=2.0, depth=2, initial_gain=0.5, lstm=sequence, attention=sequence
    ).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    rows = level + torch.randn(2, 16, 3, 40, dtype=torch.float64)
    expected = along_time(layer, rows).detach()
    one = layer(rows[:, :, 0]).detach()
    assert (expected - rows).abs().max() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(along_time(layer, rows), expected, atol=1e-10, rtol=0)
        torch.testing.assert_close(layer(rows[:, :, 0]), one, atol=1e-10, rtol=0)


def test_branches_at_one_level_keep_their_precision() -> None:
    """A steady input has next to no variance, which must not be lost in the mean's square."""
    torch.manual_seed(0)
    layer = ResidualBranches(16, compression=2.0, depth=1, initial_gain=0.5)
    rows = 100 + 0.01 * torch.randn(1, 16, 2, 60)
    exact = along_time(layer.double(), rows.double()).detach()
    with torch.no_grad():
        found = along_time(layer.float(), rows)
    torch.testing.assert_close(found.double(), exact, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("kind", "kernel", "stride", "shape"),
    [
        (nn.ConvTranspose1d, 8, 4, (2, 3, 17)),
        (nn.ConvTranspose1d, 4, 2, (1, 3, 1)),
        (nn.ConvTranspose2d, (8, 1), (4, 1), (2, 3, 5, 7)),
        (nn.ConvTranspose2d, (6, 1), (4, 1), (2, 3, 5, 7)),  # another kernel: the layer itself
        (nn.ConvTranspose2d, (8, 2), (4, 2), (2, 3, 5, 7)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions(kind, kernel, stride, shape, bias) -> None:
    torch.manual_seed(0)
    layer = kind(3, 5, kernel, stride, bias=bias).double()
    features = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        found = raise_level(layer, features)
    torch.testing.assert_close(found, layer(features).detach(), atol=1e-12, rtol=0)
