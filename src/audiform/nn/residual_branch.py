"""Compressed residual branches, the depth inside each layer of Hybrid Demucs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.framed_lstm import FramedLSTM
from audiform.nn.layer_scale import LayerScale
from audiform.nn.local_attention import LocalAttention


class ResidualBranches(nn.Module):
    """Residual branches of dilated convolutions in a narrower space, one after the other.

    Branch d: convolution of width 3 and dilation 2^d to ``channels // compression``, group norm,
    GELU, with ``lstm`` a bidirectional LSTM over frames, with ``attention`` local attention,
    1x1 convolution to twice the channels, group norm, gated linear unit, layer scale
    (Hybrid Demucs, arXiv:2111.03600, section 3.3).
    """

    def __init__(
        self,
        channels: int,
        *,
        compression: float,
        depth: int,
        initial_gain: float,
        lstm: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        hidden = int(channels / compression)

        def sequence_layers() -> list[nn.Module]:
            layers: list[nn.Module] = []
            if lstm:
                layers.append(FramedLSTM(hidden))
            if attention:
                layers.append(LocalAttention(hidden))
            return layers

        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(channels, hidden, 3, dilation=2**level, padding=2**level),
                nn.GroupNorm(1, hidden),
                nn.GELU(),
                *sequence_layers(),
                nn.Conv1d(hidden, 2 * channels, 1),
                nn.GroupNorm(1, 2 * channels),
                nn.GLU(dim=1),
                LayerScale(channels, initial_gain=initial_gain, axis=-2),
            )
            for level in range(depth)
        )

    def forward(
        self, features: Float[Tensor, "batch channels time"]
    ) -> Float[Tensor, "batch channels time"]:
        """Add each branch to ``features`` in turn."""
        if can_fold(features):
            return self.on_rows(features.unsqueeze(2)).squeeze(2)
        for branch in self.branches:
            features = features + branch(features)
        return features

    def on_rows(
        self, features: Float[Tensor, "batch channels row time"]
    ) -> Float[Tensor, "batch channels row time"]:
        """Add the branches along time in each row alone, with few passes over large tensors.

        The same numbers as :meth:`forward` row by row, without moving the rows about; for
        inference.
        """
        for branch in self.branches:
            layers: list[Any] = list(branch)  # type: ignore[call-overload]
            narrow, norm, activation, *sequence_layers, widen, wide_norm, _, gain = layers
            hidden = F.conv2d(
                features, narrow.weight[:, :, None], narrow.bias,
                padding=(0, *narrow.padding), dilation=(1, *narrow.dilation),
            )  # fmt: skip
            rows = rearrange(hidden, "batch hidden row time -> (batch row) hidden time")
            for layer in (norm, activation, *sequence_layers):
                rows = layer(rows)
            inputs, weight = _fold_norm(rows, widen, wide_norm, gain)
            flat = rearrange(
                inputs, "(batch row) input time -> batch input (row time)", batch=len(features)
            )
            # a product of matrices: convolutions bring large tensors into an order of their own
            gated = F.glu(torch.matmul(weight, flat), dim=1)
            features = gated.view(features.shape).add_(features)
        return features


def can_fold(features: Tensor) -> bool:
    """Tell whether :meth:`ResidualBranches.on_rows` is for these: inference on a CPU."""
    return features.device.type == "cpu" and not torch.is_grad_enabled()


def _triangle(matrix: Float[Tensor, "wide hidden"]) -> Float[Tensor, "least hidden"]:
    """Return R of the matrix' QR decomposition, a constant to what traces weights."""
    if torch.jit.is_tracing():
        return torch.from_numpy(np.linalg.qr(matrix.detach().numpy(), mode="r"))
    return torch.linalg.qr(matrix, mode="r").R


def _fold_norm(
    rows: Float[Tensor, "row hidden time"],
    widen: nn.Conv1d,
    norm: nn.GroupNorm,
    gain: LayerScale,
) -> tuple[Float[Tensor, "row hidden+3 time"], Float[Tensor, "wide hidden+3"]]:
    """Return inputs and weights of one product: widen, norm, gain before the gate.

    The mean and the variance of what ``widen`` gives follow from those of its few inputs and
    their combinations, so what it gives need not be read again: with m and v the mean and
    variance of a row, ``(W h + b - m) / sqrt(v + eps) * g + c`` is linear in ``h / sqrt(v + eps)``,
    ``1 / sqrt(v + eps)``, ``m / sqrt(v + eps)`` and 1, which become the inputs.
    """
    assert widen.bias is not None
    mixing, offset = widen.weight.squeeze(-1), widen.bias
    means = rows.mean(dim=-1, keepdim=True)
    # a triangle of few rows has the norm of all of them; a mean of squares is not below zero, in
    # half precision neither. OpenVINO 2026.4 divides the first item alone where a sum is divided
    # by a number, so it is a mean
    triangle = _triangle(mixing)
    spread = (triangle @ (rows - means)).square().mean(dim=(1, 2)) * (len(triangle) / len(offset))
    wide_means = means.squeeze(-1) @ mixing.t() + offset
    mean = wide_means.mean(dim=1)
    variance = spread + (wide_means - mean[:, None]).square().mean(dim=1)
    scale = (variance + norm.eps).rsqrt()
    constants = torch.stack([scale, mean * scale, torch.ones_like(scale)], dim=1)[..., None]
    inputs = torch.cat(
        [rows * scale[:, None, None], constants.expand(-1, -1, rows.shape[-1])], dim=1
    )
    gains = torch.cat([gain.gain, torch.ones_like(gain.gain)])  # the second half is the gate
    level = norm.weight * gains
    weight = level[:, None] * torch.cat(
        [mixing, offset[:, None], -torch.ones_like(offset)[:, None]], dim=1
    )
    return inputs, torch.cat([weight, (norm.bias * gains)[:, None]], dim=1)
