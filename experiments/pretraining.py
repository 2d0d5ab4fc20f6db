"""Pretraining on mixtures: masked frames as magnitudes or as codes, and the next segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from audiform.nn.magnitude_masks import MagnitudeMaskModel
from audiform.training.codebook import fit_codebook, frame_vectors
from audiform.training.examples import Batch
from audiform.training.frame_pretraining import (
    FramePretrainer,
    FramePretrainingConfig,
    PretrainingBatch,
)
from experiments.examples import PretrainingCrops
from experiments.settings import Settings
from experiments.songs import Song

#: Size of the codebook, and how it is found.
CODES = 64
CODEBOOK_ITERATIONS = 20
CODEBOOK_CROPS = 100

#: Errors of magnitudes are of the order of a hundredth, entropies of one.
MAGNITUDE_WEIGHT = 100.0


@dataclass(frozen=True)
class Pretraining:
    """What is found again of masked frames."""

    targets: Literal["magnitudes", "codes"]

    @property
    def config(self) -> FramePretrainingConfig:
        """Both tasks, with weights that make their losses alike at the start."""
        weight = MAGNITUDE_WEIGHT if self.targets == "magnitudes" else 1.0
        return FramePretrainingConfig(mask_weight=weight)

    def examples(self, songs: Sequence[Song], settings: Settings, *, seed: int) -> PretrainingCrops:
        """Return what is drawn: the same for both kinds of targets."""
        return PretrainingCrops(songs, settings, self.config, seed=seed)

    def pretrainer(
        self, network: MagnitudeMaskModel, songs: Sequence[Song], settings: Settings
    ) -> FramePretrainer:
        """Return ``network`` with the heads of its pretraining."""
        codebook = self._codebook(songs, settings) if self.targets == "codes" else None
        return FramePretrainer(network, self.config, codebook=codebook)

    def _codebook(self, songs: Sequence[Song], settings: Settings) -> Tensor:
        """Return centres of frames as they are in training, the same for every seed."""
        crops = self.examples(songs, settings, seed=0)
        draws = -(-CODEBOOK_CROPS // settings.batch_size)
        vectors = torch.cat(
            [frame_vectors(crops(draw)["targets"]).flatten(0, 1) for draw in range(draws)]
        )
        return fit_codebook(
            vectors,
            size=CODES,
            iterations=CODEBOOK_ITERATIONS,
            generator=torch.Generator().manual_seed(0),
        )

    def objective(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the losses of both tasks (an objective)."""
        losses = vars(network(PretrainingBatch(**batch)))
        return {"loss": losses["total"], **{k: v for k, v in losses.items() if k != "total"}}
