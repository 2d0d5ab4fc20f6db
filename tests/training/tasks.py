"""Small things to train, whose every value is a function of a number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from audiform.training.examples import Batch

SHARES = torch.tensor([0.7, 0.2, 0.1, 0.0])


@dataclass(frozen=True)
class NoiseExamples:
    """Stems of noise with fixed gains: (draw_size, 4, 2, length)."""

    length: int = 64
    draw_size: int = 2
    draws_per_epoch: int = 8
    seed: int = 0

    def __call__(self, draw: int) -> Batch:
        generator = torch.Generator().manual_seed(1000 * self.seed + draw)
        stems = torch.randn(self.draw_size, 4, 2, self.length, generator=generator)
        return {"stems": SHARES[:, None, None] * stems}


class Gains(nn.Module):
    """A share of the mixture for each source, learned with dropout and layers left out."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(4))
        self.mix = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        mixed = nn.functional.dropout(mixture, 0.2, self.training)
        if not self.training or torch.rand(()) < 0.7:
            mixed = mixed + 0.1 * self.mix(self.norm(mixed).transpose(1, 2)).transpose(1, 2)
        return self.logits.softmax(0)[None, :, None, None] * mixed[:, None]


def gains_objective(
    network: nn.Module, batch: Batch, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    stems = batch["stems"]
    error = (network(stems.sum(dim=1)) - stems).square().mean(dim=(2, 3))
    return {"loss": error.mean(), "first": error[:, 0].mean()}
