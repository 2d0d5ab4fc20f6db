"""Weights shared out over processes: ``python -m tests.training.sharded FOLDER``.

Accelerate shares weights out on GPUs only; here PyTorch does it on CPUs, and what the trainer
makes of such weights (its state, averages, a network's ``core``) is tried on them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from audiform.models.htdemucs import HTDemucs
from audiform.nn.transformer import TransformerLayer
from audiform.training.average import WeightAverage
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.objective import LossModule
from audiform.training.optimizer import new_optimizer
from audiform.training.parallel import open_methods
from audiform.training.separation import SeparationObjective
from audiform.training.state import load_optimizer, load_weights, shared_out, whole
from tests.models_for_tests import TINY_HTDEMUCS
from tests.training.tasks import NoiseExamples

#: A large epsilon: else Adam makes full steps of gradients that are nothing but rounding.
CONFIG = TrainingConfig(max_steps=1, learning_rate=1e-3, weight_decay=0.1, epsilon=1e-3)


def new_run(*, sharded: bool):
    torch.manual_seed(0)
    module = LossModule(HTDemucs(TINY_HTDEMUCS), SeparationObjective())
    if sharded:
        for layer in module.modules():
            if isinstance(layer, TransformerLayer):
                fully_shard(layer)
        fully_shard(module.network)  # so that its core is called from outside
        fully_shard(module)
        open_methods(module.network)
    average = WeightAverage(module.network, AverageConfig(decay=0.5))
    return module, new_optimizer(module, CONFIG), average


def step(module, optimizer, average, *, number, items):
    batch = NoiseExamples(length=4096, draw_size=2)(number)
    module({"stems": batch["stems"][items]}, 0)["loss"].backward()
    optimizer.step()
    optimizer.zero_grad()
    average.update(module.network)


def state(module, optimizer, average):
    values = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.values,
    }
    return whole(values)


def restore(saved, module, optimizer, average):
    load_weights(module, saved["module"])
    load_optimizer(optimizer, saved["optimizer"])
    average.values = shared_out(saved["average"], average.values)


def main() -> None:
    """Take a step shared out, save; take another in one piece and shared out, save both."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    run = new_run(sharded=True)
    assert isinstance(run[0].network, FSDPModule)
    assert all(isinstance(weight, DTensor) for weight in run[0].parameters())
    step(*run, number=0, items=slice(rank, rank + 1))
    first = state(*run)
    again = new_run(sharded=True)
    restore(first, *again)
    step(*again, number=1, items=slice(rank, rank + 1))
    second = state(*again)
    if rank == 0:
        torch.save({"first": first, "second": second}, folder / "sharded.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
