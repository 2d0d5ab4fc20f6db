"""What a network is trained on, and how it gets to the loop.

:class:`Examples` makes a group of items, a *draw*, from the draw's number; what it makes depends
on its own settings and that number alone. So neither resuming nor the number of workers or of
processes changes what a step is trained on: step n has the draws n D to (n + 1) D - 1, and each
of P processes takes its contiguous share of them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from audiform.errors import ConfigError

Batch = dict[str, Tensor]


@runtime_checkable
class Examples(Protocol):
    """Items to train on, by number.

    It must be picklable, and is called in worker processes: open files there, not before.
    """

    @property
    def draw_size(self) -> int:
        """Items in one draw: as many as belong together, such as a group that is remixed."""
        ...

    @property
    def draws_per_epoch(self) -> int:
        """Draws until everything was seen about once."""
        ...

    def __call__(self, draw: int) -> Batch:
        """Return draw number ``draw``, counted from 0 through all epochs.

        Named tensors with ``draw_size`` items along the first axis. Separation has ``stems``
        (item, source, channel, time), and ``mixture`` where it is not their sum.
        """
        ...


@dataclass(frozen=True)
class Sound:
    """What the audio of examples is, so that it can be held against the model before training."""

    sample_rate: int
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchPlan:
    """How the items of a step are shared out."""

    batch_size: int
    draw_size: int
    num_processes: int = 1
    accumulate: int = 1

    def __post_init__(self) -> None:
        shares = self.draw_size * self.num_processes * self.accumulate
        if self.batch_size % shares:
            raise ConfigError(
                f"a batch of {self.batch_size} items cannot be shared out evenly: draws of "
                f"{self.draw_size} x {self.num_processes} processes x {self.accumulate} parts; "
                f"choose a multiple of {shares} as batch_size"
            )

    @property
    def draws_per_step(self) -> int:
        """Draws in the batch of one step, over all processes."""
        return self.batch_size // self.draw_size

    def draws(self, step: int, *, process: int, part: int) -> range:
        """Return the draws of one part of a process' share of a step."""
        count = self.draws_per_step // (self.num_processes * self.accumulate)
        start = step * self.draws_per_step + (process * self.accumulate + part) * count
        return range(start, start + count)


class _Draws(Dataset[Batch]):
    """Makes the draws of a range and joins them into one batch."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, draws: Sequence[int]) -> Batch:
        return joined([self.examples(draw) for draw in draws])


class _Parts(Sampler[range]):
    """The ranges of draws of one process, from a step on, without end."""

    def __init__(self, plan: BatchPlan, *, process: int, first_step: int) -> None:
        self.plan = plan
        self.process = process
        self.first_step = first_step

    def __iter__(self) -> Iterator[range]:
        step = self.first_step
        while True:
            for part in range(self.plan.accumulate):
                yield self.plan.draws(step, process=self.process, part=part)
            step += 1


def joined(batches: Sequence[Batch]) -> Batch:
    """Join batches along their first axis."""
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch with its tensors on ``device``."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


@contextmanager
def loaded(
    examples: Examples,
    plan: BatchPlan,
    *,
    process: int = 0,
    first_step: int = 0,
    num_workers: int = 0,
    prefetch: int = 2,
    worker_start: str | None = None,
    pin_memory: bool = False,
) -> Iterator[Iterator[Batch]]:
    """Give an endless iterator over the parts of this process, made by ``num_workers`` processes.

    With no worker the batches are made where they are asked for.
    """
    loader = DataLoader(
        _Draws(examples),
        sampler=_Parts(plan, process=process, first_step=first_step),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=num_workers,
        prefetch_factor=prefetch if num_workers else None,
        persistent_workers=num_workers > 0,
        multiprocessing_context=worker_start if num_workers else None,
        worker_init_fn=_leave_signals_to_the_loop if num_workers else None,
        pin_memory=pin_memory,
        # its own, so that the loader takes no number from the global one
        generator=torch.Generator().manual_seed(0),
    )
    iterator = iter(loader)
    try:
        yield iterator
    finally:
        stop: Callable[[], None] | None = getattr(iterator, "_shutdown_workers", None)
        if stop is not None:  # at once, instead of whenever memory is tidied up
            stop()


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_signals_to_the_loop(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the loop must save its state in peace."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
