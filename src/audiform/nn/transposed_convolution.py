"""Transposed convolutions that go a level up, as plain ones where no gradient is wanted."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


def raise_level(
    convolution: nn.Module, features: Float[Tensor, "batch ..."], *, beyond: bool = True
) -> Float[Tensor, ...]:
    """Apply a transposed convolution whose kernel is twice its stride, along the first axis.

    Each output comes from two neighbouring inputs, so all outputs between two inputs are the
    channels of a plain convolution of width 2, which processors have faster kernels for; then
    they are put in a row. In training, and for other kernels, the layer runs as it is. What lies
    ``beyond`` the first and the last input can be left out.
    """
    if torch.is_grad_enabled() or not isinstance(
        convolution, (nn.ConvTranspose1d, nn.ConvTranspose2d)
    ):
        return convolution(features)
    (stride, *other_strides), weight = convolution.stride, convolution.weight
    if weight.shape[2] != 2 * stride or any(step != 1 for step in other_strides):
        return convolution(features)
    # tap 0 meets the input before, tap 1 the one after the place of the outputs
    taps = torch.stack([weight[:, :, stride:], weight[:, :, :stride]], dim=-1)
    taps = rearrange(
        taps, "input output phase ... tap -> (phase output) input tap ..."
    ).contiguous()  # fmt: skip
    bias = None if convolution.bias is None else convolution.bias.repeat(stride)
    if features.ndim == 3:
        phases = torch.conv1d(features, taps, bias, padding=int(beyond))
        return rearrange(phases, "batch (phase c) step -> batch c (step phase)", phase=stride)
    phases = torch.conv2d(features, taps, bias, padding=(int(beyond), 0))
    return rearrange(
        phases, "batch (phase c) step time -> batch c (step phase) time", phase=stride
    )  # fmt: skip
