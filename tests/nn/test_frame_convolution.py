from __future__ import annotations

import torch
import torch.nn.functional as F

from audiform.nn.frame_convolution import FrameConv, FrameDecoder


def trained(layer: FrameConv) -> FrameConv:
    """Give the norm statistics that are not those of its start."""
    torch.nn.init.uniform_(layer.norm.running_mean, -1, 1)
    torch.nn.init.uniform_(layer.norm.running_var, 0.5, 2)
    torch.nn.init.uniform_(layer.norm.weight, 0.5, 2)
    torch.nn.init.uniform_(layer.norm.bias, -1, 1)
    return layer.eval()


def test_the_norm_in_the_kernel_changes_nothing() -> None:
    torch.manual_seed(0)
    layer = trained(FrameConv(3, 5, stride=2, slope=0.01))
    x = torch.randn(2, 7, 16, 3)
    picture = x.permute(0, 3, 2, 1)  # batch, channel, bin, frame
    mixed = F.conv2d(picture, layer.weight.transpose(2, 3), stride=(2, 1), padding=(1, 0))
    expected = F.leaky_relu(layer.norm(mixed), 0.01).permute(0, 3, 2, 1)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_parts_count_as_if_they_lay_side_by_side() -> None:
    torch.manual_seed(0)
    layer = FrameConv(5, 4)
    x = torch.randn(2, 3, 8, 5)
    for mode in (layer.train(), trained(layer)):
        torch.testing.assert_close(mode(x[..., :2], x[..., 2:]), mode(x), atol=1e-5, rtol=1e-5)


def test_upsampling_keeps_a_slope_and_the_ends() -> None:
    """Corners are aligned: a line over the bins stays one."""
    layer = FrameDecoder(1, 1, 1, slope=1.0).eval()
    with torch.no_grad():
        layer.convolution.weight.zero_()
        layer.convolution.weight[0, 0, 0, 1] = 1
    line = torch.arange(4.0).view(1, 1, 4, 1)
    with torch.no_grad():
        found = layer(line, torch.zeros(1, 1, 8, 1))
    torch.testing.assert_close(found.flatten(), torch.linspace(0, 3, 8), atol=1e-4, rtol=0)
