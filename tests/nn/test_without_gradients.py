"""Layers that take a shorter way where no gradient is wanted: both ways give the same."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from audiform.nn import row_stretches
from audiform.nn.residual_branch import ResidualBranches
from audiform.nn.transposed_convolution import raise_level
from audiform.nn.unet import UNetDecoderLayer, UNetEncoderLayer, UNetLayerShape, along_time


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


SHAPE = UNetLayerShape(
    over_frequency=True,
    kernel_size=8,
    stride=4,
    context=0,
    norm_groups=None,
    branch_depth=2,
    branch_compression=2.0,
    branch_initial_gain=0.5,
)
#: Numbers in a row of the features that are divided below.
ROW = 2 * 6 * 7


@pytest.fixture(params=[1, 2, 3, 100])
def rows_at_once(request, monkeypatch) -> int:
    monkeypatch.setattr(row_stretches, "STRETCH_SIZE", request.param * ROW)
    return request.param


@pytest.mark.parametrize("padded", [True, False])
def test_encoder_layers_in_stretches_of_rows(rows_at_once, padded) -> None:
    torch.manual_seed(0)
    layer = UNetEncoderLayer(3, 6, replace(SHAPE, padded=padded)).double()
    features = torch.randn(2, 3, 40, 7, dtype=torch.float64)
    with torch.no_grad():
        found = layer(features)
    torch.testing.assert_close(found, layer(features).detach(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("outermost", [True, False])
@pytest.mark.parametrize(("context", "over_time_only"), [(0, False), (1, False), (1, True)])
def test_decoder_layers_in_stretches_of_rows(
    rows_at_once, outermost, context, over_time_only
) -> None:
    torch.manual_seed(0)
    shape = replace(SHAPE, context=context, gate_over_time_only=over_time_only)
    layer = UNetDecoderLayer(6, 3, shape, outermost=outermost).double()
    features, skip = torch.randn(2, 2, 6, 11, 7, dtype=torch.float64)
    with torch.no_grad():
        found = layer(features, skip, 43)
    torch.testing.assert_close(found, layer(features, skip, 43).detach(), atol=1e-12, rtol=0)


def test_layers_that_see_all_rows_are_not_divided(monkeypatch) -> None:
    """A norm over all frequencies, a gate that sees its neighbours on the way down."""
    monkeypatch.setattr(row_stretches, "STRETCH_SIZE", ROW)
    torch.manual_seed(0)
    features = torch.randn(2, 3, 40, 7, dtype=torch.float64)
    for shape in (replace(SHAPE, norm_groups=1), replace(SHAPE, context=1)):
        layer = UNetEncoderLayer(3, 6, shape).double()
        with torch.no_grad():
            found = layer(features)
        torch.testing.assert_close(found, layer(features).detach(), atol=1e-12, rtol=0)
