"""The objective of one mask on magnitudes: the mixture times the mask near to what shall be left.

Mean absolute error of magnitudes, with which the Frame Transformer and the Frame Primer were
trained (published training code, carperbr/vocal-remover-frame-transformer, April and May 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audiform.nn.magnitude_masks import MagnitudeMaskModel
from audiform.training.examples import Batch
from audiform.training.objective import full_precision


class MaskObjective:
    """Batches have ``mixture`` and ``instrumental`` (item, channel, bin, frame), in [0, 1]."""

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "loss"."""
        assert isinstance(network, MagnitudeMaskModel)
        (masks,) = network.core(batch["mixture"])
        with full_precision(masks.device):
            left = masks[:, 0].float() * batch["mixture"]
            return {"loss": (left - batch["instrumental"]).abs().mean()}
