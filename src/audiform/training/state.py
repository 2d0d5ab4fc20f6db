"""All that a run needs to go on where it stopped, in one file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiform.errors import CheckpointError
from audiform.training.quantise import PseudoQuantiser


class TrainingState:
    """Network, running average of its weights, optimiser, and how far it came.

    There is no generator in it: the batch of step n is drawn from the seed and n alone.

    ``average`` is an exponential moving average of the weights; with a decay d, step n counts
    for at most (1 + n) / (10 + n), so that the first steps are forgotten soon. ``quantiser``
    holds the bits of the weights, where these are learned too.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        quantiser: PseudoQuantiser | None = None,
    ) -> None:
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.optimiser = optimiser
        self.quantiser = quantiser
        self.step = 0
        self.seconds = 0.0

    def update_average(self, decay: float) -> None:
        """Move the average towards the network's present weights."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(
                self.average.parameters(), self.network.parameters(), strict=True
            ):
                mean.lerp_(value, 1.0 - decay)

    def packing(self) -> dict[str, Any]:
        """Return what ``write_checkpoint`` must be told so that it packs the weights."""
        if self.quantiser is None:
            return {}
        return {"bits": self.quantiser.bits(), "group_size": self.quantiser.config.group_size}

    def save(self, path: Path) -> None:
        """Write everything to ``path``, aside and renamed."""
        part = path.with_name(path.name + ".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "quantiser": None if self.quantiser is None else self.quantiser.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
            },
            part,
        )
        part.replace(path)

    def load(self, path: Path) -> None:
        """Read what :meth:`save` wrote; raises CheckpointError where it does not fit."""
        try:
            saved: dict[str, Any] = torch.load(path, weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            if self.quantiser is not None:
                self.quantiser.load_state_dict(saved["quantiser"] or {})
            self.step, self.seconds = int(saved["step"]), float(saved["seconds"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"the training state does not fit this recipe ({error}); "
                "train into another folder, or resume with the recipe that wrote it",
                path=path,
            ) from error
