"""Compressed residual branches, the depth inside each layer of Hybrid Demucs."""

from __future__ import annotations

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
        for branch in self.branches:
            features = features + branch(features)
        return features
