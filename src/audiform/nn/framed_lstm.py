"""Bidirectional LSTMs: over a whole sequence, or over overlapping frames of a long one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

#: Steps of a frame; neighbours overlap by half (Hybrid Demucs, arXiv:2111.03600, section 3.3).
FRAME_STEPS = 200


class BidirectionalLSTM(nn.Module):
    """A bidirectional LSTM, then a linear layer back to as many features as came in."""

    def __init__(self, width: int, *, num_layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers, bidirectional=True)
        self.output = nn.Linear(2 * width, width)

    def forward(
        self, features: Float[Tensor, "batch width time"]
    ) -> Float[Tensor, "batch width time"]:
        """Look at the whole sequence in both directions."""
        steps = rearrange(features, "batch width time -> time batch width")
        return rearrange(self.output(self.lstm(steps)[0]), "time batch width -> batch width time")


class FramedLSTM(BidirectionalLSTM):
    """A residual bidirectional LSTM of two layers over overlapping frames.

    A sequence longer than a frame is cut into frames of 200 steps, 100 apart, filled up with
    zeros; of each frame the middle half is kept (of the first and the last frame all up to
    their ends). Memory and time thus grow with the length, not the LSTM's reach.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, num_layers=2)

    def forward(
        self, features: Float[Tensor, "batch width time"]
    ) -> Float[Tensor, "batch width time"]:
        """Add what the LSTM makes of each frame to ``features``."""
        num_steps = features.shape[-1]
        if num_steps <= FRAME_STEPS:
            return features + super().forward(features)
        hop, edge = FRAME_STEPS // 2, FRAME_STEPS // 4
        num_frames = -(-num_steps // hop)
        filled = F.pad(features, (0, (num_frames + 1) * hop - num_steps))
        frames = rearrange(
            filled.unfold(-1, FRAME_STEPS, hop),
            "batch width frame step -> (batch frame) width step",
        )
        frames = rearrange(
            super().forward(frames), "(batch frame) width step -> batch width frame step",
            frame=num_frames,
        )  # fmt: skip
        middles = frames[..., edge:-edge].flatten(-2)
        joined = torch.cat([frames[:, :, 0, :edge], middles, frames[:, :, -1, -edge:]], dim=-1)
        return features + joined[..., :num_steps]
