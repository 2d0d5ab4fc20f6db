"""A run in a process of its own: ``python -m tests.training.run FOLDER [options]``.

For what can only be tried from outside: killing it, and several processes that train together.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from audiform.errors import Cancelled
from audiform.models.htdemucs import HTDemucs
from audiform.nn.sparse_attention import SparseAttentionConfig
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.examples import Batch
from audiform.training.loop import Progress, Task, train
from audiform.training.regularizers import SingularValueConfig
from audiform.training.schedule import CosineSchedule
from audiform.training.separation import SeparationLossConfig, SeparationObjective
from audiform.training.validation import LossValidator, SegmentValidator, Validator
from tests.models_for_tests import TINY_HTDEMUCS
from tests.training.tasks import NoiseExamples

OBJECTIVE = SeparationObjective(
    SeparationLossConfig(l1=1.0, spectral=0.1, spectral_sizes=((512, 128),))
)


class Unsteady(nn.Module):
    """HT Demucs with all that is random in training: dropout, layers left out, hashing."""

    def __init__(self) -> None:
        super().__init__()
        config = TINY_HTDEMUCS.model_copy(
            update={"sparse": SparseAttentionConfig(kind="lsh", sparsity=0.5, rounds=8)}
        )
        self.separator = HTDemucs(config)
        self.spec = self.separator.spec
        self.extra = nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        mixture = nn.functional.dropout(mixture, 0.1, self.training)
        if not self.training or torch.rand(()) < 0.5:
            mixture = mixture + self.extra(mixture)
        return self.separator(mixture)


def whole_network(
    network: nn.Module, batch: Batch, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Call the network itself, not its steps."""
    stems = batch["stems"]
    return OBJECTIVE.losses(estimate=network(stems.sum(dim=1)), reference=stems)


def main() -> None:
    """Train as the options say."""
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--accumulate", type=int, default=1)
    options.add_argument("--unsteady", action="store_true")
    options.add_argument("--stop", type=int, help="stop after this step, as Ctrl-C would")
    options.add_argument("--resume", action="store_true")
    given = options.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    examples = NoiseExamples(length=4096)
    objective = whole_network if given.unsteady else OBJECTIVE
    held_out = NoiseExamples(length=4096, draws_per_epoch=2, seed=1)
    validator: Validator = SegmentValidator(
        OBJECTIVE,
        held_out,
        sources=TINY_HTDEMUCS.sources,
        sample_rate=TINY_HTDEMUCS.sample_rate,
    )
    if given.unsteady:
        validator = LossValidator(whole_network, held_out)
    network = Unsteady() if given.unsteady else HTDemucs(TINY_HTDEMUCS)

    def stop(now: Progress) -> None:
        if now.step == given.stop:
            os.kill(os.getpid(), signal.SIGINT)

    train(
        Task(network, objective, examples, validator),
        TrainingConfig(
            seed=5,
            batch_size=8,
            accumulate=given.accumulate,
            learning_rate=1e-3,
            schedule=CosineSchedule(warmup_steps=4),
            max_gradient_norm=1.0,
            averages=(AverageConfig(decay=0.9), AverageConfig(decay=0.5, every="epoch")),
            singular_values=SingularValueConfig(min_size_mb=0.002),
            max_steps=given.steps,
            steps_per_epoch=7,
            save_every_steps=3,
            log_every_steps=1,
        ),
        folder=given.folder,
        resume=given.resume,
        on_progress=stop,
    )


if __name__ == "__main__":
    try:
        main()
    except Cancelled as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130)
