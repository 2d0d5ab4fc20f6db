from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from audiform.nn.time_convolution import TimeConvolution


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("num_frames", [1, 2, 19])
def test_equals_the_plain_convolution(depthwise, num_frames) -> None:
    torch.manual_seed(0)
    layer = TimeConvolution(6, 6, kernel_frames=5, depthwise=depthwise)
    x = torch.randn(2, num_frames, 6)
    expected = F.conv1d(
        x.transpose(1, 2), layer.weight[:, :, 0], layer.bias, padding=2, groups=layer.groups
    )
    torch.testing.assert_close(layer(x), expected.transpose(1, 2), atol=1e-6, rtol=1e-5)
