"""An autoencoder along the frames of a spectrogram, the same for every bin, with knobs.

S. Hawley, B. Colburn and S. Mimilakis, "SignalTrain: profiling audio compressors with deep
neural networks", 2019, arXiv:1905.11928.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

#: Each of the first layers is so many times narrower than the one before.
REDUCTION = 2

#: Bins of all examples that a CPU takes through the layers at a time: what they leave between
#: two layers stays in its cache.
ROWS_AT_A_TIME = 4096


class FrameAutoencoder(nn.Module):
    """Four layers down from the frames of a bin, one that takes the knobs in, four layers up.

    ELU follows every layer, except the last one where ``bounded`` is False: an ELU keeps its
    result above -1.
    """

    def __init__(
        self, *, num_frames: int, output_frames: int, num_knobs: int, rank: int, bounded: bool
    ) -> None:
        super().__init__()
        widths = [rank, rank // REDUCTION, rank // REDUCTION**2, rank // REDUCTION**2]
        down, up = [num_frames, *widths], [*widths[::-1], output_frames]
        self.encode = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(down))
        self.add_knobs = nn.Linear(widths[-1] + num_knobs, widths[-1])
        self.decode = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(up))
        self.bounded = bounded
        for layer in (*self.encode, self.add_knobs, *self.decode):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, bins: Float[Tensor, "batch bin frame"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch bin output_frame"]:
        """Return the new frames of every bin."""
        if bins.device.type != "cpu":
            return self._run(bins, knobs)
        examples = max(1, ROWS_AT_A_TIME // bins.shape[1])
        parts = zip(bins.split(examples), knobs.split(examples), strict=True)
        return torch.cat([self._run(*part) for part in parts])

    def _run(self, bins: Tensor, knobs: Tensor) -> Tensor:
        batch, num_bins, num_frames = bins.shape
        # Rows, not a batch of bins: then an ELU can take the place of its input.
        hidden = bins.reshape(-1, num_frames)
        for layer in self.encode:
            hidden = F.elu(layer(hidden), inplace=True)
        # The knobs are the same for all bins: their part of the layer is computed once.
        width = hidden.shape[-1]
        code_weight, knob_weight = self.add_knobs.weight.tensor_split([width], dim=1)
        code = F.linear(hidden, code_weight).view(batch, num_bins, width)
        shift = F.linear(knobs, knob_weight, self.add_knobs.bias)
        hidden = F.elu(code + shift[:, None], inplace=True).view(-1, width)
        for layer in self.decode[:-1]:
            hidden = F.elu(layer(hidden), inplace=True)
        hidden = self.decode[-1](hidden)
        if self.bounded:
            hidden = F.elu(hidden, inplace=True)
        return hidden.view(batch, num_bins, -1)
