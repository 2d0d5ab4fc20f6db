"""The loop: draw, forward, backward, step; log, validate and save now and then.

It knows neither songs nor networks. A step is a function of the state before it, the seed and
its number: a run that was killed and resumed ends bit for bit as one that was not (on one kind
of device).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiform.errors import Cancelled, ConfigError, TrainingError
from audiform.protocols import SeparationModel
from audiform.training.average import WeightAverage
from audiform.training.config import GREATER_IS_BETTER, TrainingConfig
from audiform.training.examples import Batch, BatchPlan, Examples, Sound, loaded, on_device
from audiform.training.folder import STATE_FILE, locked, require_free
from audiform.training.handshake import (
    check_draw,
    check_examples,
    check_sound,
    check_space,
    describe_not_finite,
    dry_run,
)
from audiform.training.interrupt import Interrupt
from audiform.training.journal import Journal
from audiform.training.objective import LossModule, Objective
from audiform.training.optimizer import new_optimizer
from audiform.training.parallel import (
    from_main,
    gradient_norm,
    new_accelerator,
    open_methods,
    summed,
)
from audiform.training.quantise import PseudoQuantiser
from audiform.training.schedule import Position
from audiform.training.seed import mixed_seed
from audiform.training.state import (
    Best,
    Counters,
    load_optimizer,
    load_weights,
    read_state,
    require_equal_settings,
    shared_out,
    whole,
    write_state,
)
from audiform.training.validation import Validation, Validator

#: Name of the weights as they are, beside the averages.
NETWORK = "network"

#: So many steps in a row may overflow in float16, while its scale is being found.
MAX_SKIPPED_STEPS = 25


@dataclass(frozen=True)
class Task:
    """What is trained: the network, what it is to make small, and on what.

    ``sound`` says what cannot be seen from a batch, for the checks before the first step.
    """

    network: nn.Module
    objective: Objective
    examples: Examples
    validator: Validator | None = None
    sound: Sound | None = None


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step."""

    step: int
    epoch: int
    share: float
    loss: float
    learning_rate: float
    items_per_second: float
    seconds_left: float


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Trained:
    """What a run hands out: the best weights by the validation, else the first average.

    ``packing`` is what ``write_checkpoint`` must be told so that it packs the weights, where
    their bits were learned. Files are for the main process to write.
    """

    weights: dict[str, Tensor]
    candidate: str
    step: int
    seconds: float
    scores: dict[str, float] | None
    packing: dict[str, Any]
    is_main_process: bool


def train(
    task: Task,
    config: TrainingConfig,
    *,
    folder: Path,
    description: Mapping[str, Any] | None = None,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Train until the configured end; state and log are written to ``folder``.

    ``description`` has all other settings as JSON values; a run is resumed with equal ones
    only (see :data:`audiform.training.config.CHANGEABLE`). ``resume`` goes on from the state in
    ``folder`` where there is one.

    Raises :class:`ConfigError` or :class:`DataError` for what does not fit together,
    :class:`TrainingError` where numbers stop being finite, :class:`Cancelled` after Ctrl-C or
    SIGTERM, with the state saved.
    """
    return _Run(task, config, folder, description or {}).train(resume, on_progress)


def share_of_run(config: TrainingConfig, *, step: int, epoch: float, seconds: float) -> float:
    """Return the share of the run that is spent, in [0, 1]."""
    shares = [0.0]
    if config.max_steps is not None:
        shares.append(step / config.max_steps)
    if config.max_epochs is not None:
        shares.append(epoch / config.max_epochs)
    if config.max_seconds is not None:
        shares.append(seconds / config.max_seconds)
    return min(1.0, max(shares))


class _Run:
    """A run in this process."""

    def __init__(
        self, task: Task, config: TrainingConfig, folder: Path, description: Mapping[str, Any]
    ) -> None:
        self.task = task
        self.config = config
        self.folder = folder
        self.accelerator = new_accelerator(config)
        self.is_main = self.accelerator.is_main_process
        check_examples(task.examples)
        self.plan = BatchPlan(
            batch_size=config.batch_size,
            draw_size=task.examples.draw_size,
            num_processes=self.accelerator.num_processes,
            accumulate=config.accumulate,
        )
        self.steps_per_epoch = config.steps_per_epoch or math.ceil(
            task.examples.draws_per_epoch / self.plan.draws_per_step
        )
        self.description = {
            **description,
            "training": config.model_dump(mode="json"),
            "examples": {
                "draw_size": task.examples.draw_size,
                "draws_per_epoch": task.examples.draws_per_epoch,
            },
        }
        self.counters = Counters()
        self.best_weights: dict[str, Tensor] | None = None
        self.best_bits: dict[str, Tensor] | None = None
        self.skipped = 0
        # since the last line of the log, in seconds; clocks are no part of the state
        self.waited = self.worked = 0.0

    def train(self, resume: bool, on_progress: OnProgress | None) -> Trained:
        """Check, begin or resume, go through the steps."""
        state = self.folder / STATE_FILE
        require_free(self.folder, resume=resume)
        self.accelerator.wait_for_everyone()
        with ExitStack() as stack:
            if self.is_main:
                stack.enter_context(locked(self.folder))
            saved = read_state(state) if state.exists() else None
            if saved is not None:
                require_equal_settings(saved[1], self.description, folder=self.folder)
            self._prepare()
            if saved is not None:
                self._restore(saved[0], saved[2])
            if self.is_main:
                self.journal = stack.enter_context(self._open_journal())
            devices = [self.accelerator.device] if self.accelerator.device.type == "cuda" else []
            stack.enter_context(torch.random.fork_rng(devices=devices))
            self.module.train()
            self._loop(on_progress)
            return self._result()

    # before the first step

    def _prepare(self) -> None:
        """Hold model, data and settings against each other, and take one step on trial."""
        task, config = self.task, self.config
        draw = task.examples(0)
        check_draw(task.examples, draw)
        if isinstance(task.network, SeparationModel):
            check_sound(task.network.spec, draw, task.sound)
        if self.is_main:
            check_space(self.folder, task.network, config)
        quantiser = None
        if config.quantiser is not None:
            quantiser = PseudoQuantiser(task.network, config.quantiser)
        self.module = LossModule(
            task.network,
            task.objective,
            quantiser=quantiser,
            singular_values=config.singular_values,
        )
        optimizer = new_optimizer(self.module, config)
        self.model, self.optimizer = self.accelerator.prepare(self.module, optimizer)
        open_methods(task.network)
        dry_run(
            self.model,
            self.module,
            draw,
            device=self.accelerator.device,
            seed=mixed_seed(config.seed),
        )
        self.averages = {
            average.name: WeightAverage(task.network, average) for average in config.averages
        }

    def _restore(self, counters: Counters, tensors: Mapping[str, Any]) -> None:
        self.counters = counters
        load_weights(self.module, tensors["module"])
        load_optimizer(self.optimizer.optimizer, tensors["optimizer"])
        for name, average in self.averages.items():
            saved = tensors["averages"][name]
            average.updates = saved["updates"]
            average.values = shared_out(saved["values"], average.values)
        self.best_weights, self.best_bits = tensors["best"], tensors["best_bits"]
        if self.accelerator.scaler is not None and tensors["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(tensors["scaler"])

    @contextmanager
    def _open_journal(self) -> Iterator[Journal]:
        journal = Journal(
            self.folder,
            lines=self.counters.log_lines,
            step=self.counters.step,
            tensorboard=self.config.tensorboard,
        )
        try:
            yield journal
        finally:
            journal.close()

    # the steps

    @property
    def position(self) -> Position:
        """Where the run stands."""
        step = self.counters.step
        epoch = step / self.steps_per_epoch
        seconds = self.counters.seconds
        share = share_of_run(self.config, step=step, epoch=epoch, seconds=seconds)
        return Position(step=step, epoch=epoch, share=share)

    def _loop(self, on_progress: OnProgress | None) -> None:
        config, counters = self.config, self.counters
        meter = _Meter(self.position.share, config.batch_size)
        saved_at = counters.seconds
        with ExitStack() as stack:
            batches = stack.enter_context(
                loaded(
                    self.task.examples,
                    self.plan,
                    process=self.accelerator.process_index,
                    first_step=counters.step,
                    num_workers=config.num_workers,
                    prefetch=config.prefetch,
                    worker_start=config.worker_start,
                    pin_memory=self.accelerator.device.type == "cuda",
                )
            )
            interrupt = stack.enter_context(Interrupt())
            self.mark = time.perf_counter()
            while (position := self.position).share < 1.0:
                rate = config.learning_rate * config.schedule.factor(position)
                stop, loss = self._step(batches, rate, interrupt)
                if counters.step % config.log_every_steps == 0:
                    self._log(rate)
                if counters.step % self.steps_per_epoch == 0:
                    self._end_epoch()
                if stop or self._is_time_to_save(saved_at):
                    self.save()
                    saved_at = counters.seconds
                if on_progress is not None and self.is_main:
                    on_progress(meter.progress(self.position, rate=rate, loss=loss))
                if stop:
                    raise Cancelled(
                        f"training was stopped after step {counters.step}; its state is in "
                        f"{self.folder}, --resume goes on from there"
                    )
            if self.task.validator is not None and counters.validated_step != counters.step:
                self._validate()
            self.save()

    def _seconds_since_mark(self) -> float:
        """Return the time in training since the last call; validating and saving do not count."""
        before, self.mark = self.mark, time.perf_counter()
        return self.mark - before

    def _is_time_to_save(self, saved_at: float) -> bool:
        every = self.config.save_every_steps
        if every is not None and self.counters.step % every == 0:
            return True
        return self.counters.seconds - saved_at >= self.config.save_every_seconds

    def _step(
        self, batches: Iterator[Batch], rate: float, interrupt: Interrupt
    ) -> tuple[bool, float]:
        """Take a step; return whether some process was asked to stop, and the loss."""
        counters = self.counters
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
        terms = self._gradients(batches)
        norm = gradient_norm(
            self.accelerator, self._clipped_parameters(), self.config.max_gradient_norm
        )
        found = summed(
            self.accelerator,
            [
                float(interrupt.received is not None),
                self._seconds_since_mark() if self.is_main else 0.0,
                *terms.values(),
            ],
        )
        means = [value / self.accelerator.num_processes for value in found[2:]]
        means_by_name = dict(zip(terms, means, strict=True))
        self._require_finite(means_by_name, norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        counters.step += 1
        counters.seconds += found[1]
        self.worked += found[1]
        counters.term_steps += 1
        if math.isfinite(norm):  # else float16 is looking for its scale
            means_by_name["gradient_norm"] = norm
        for name, mean in means_by_name.items():
            counters.term_sums[name] = counters.term_sums.get(name, 0.0) + mean
        for average in self.averages.values():
            if average.config.every == "step":
                average.update(self.task.network)
        return found[0] > 0, means_by_name["loss"]

    def _gradients(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Go forward and backward over the parts of a step; return the terms' means."""
        config, step = self.config, self.counters.step
        sums: dict[str, Tensor] = {}
        for part in range(config.accumulate):
            asked = time.perf_counter()
            batch = on_device(next(batches), self.accelerator.device)
            self.waited += time.perf_counter() - asked
            is_last = part == config.accumulate - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.model):
                # dropout and the like take the global generator
                torch.manual_seed(
                    mixed_seed(config.seed, step, self.accelerator.process_index, part)
                )
                terms = self.model(batch, mixed_seed(config.seed, step))
                self.accelerator.backward(terms["loss"] / config.accumulate)
            for name, term in terms.items():
                value = term.detach().float() / config.accumulate
                sums[name] = sums[name] + value if name in sums else value
        return dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))

    def _clipped_parameters(self) -> list[Tensor]:
        """Return the parameters whose gradients are scaled down together: not learned bits."""
        module = self.task.network if self.module.quantiser is not None else self.module
        return list(module.parameters())

    def _require_finite(self, terms: Mapping[str, float], norm: float) -> None:
        """Raise :class:`TrainingError` before weights are spoilt."""
        if self.accelerator.scaler is not None and all(map(math.isfinite, terms.values())):
            self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
            if self.skipped <= MAX_SKIPPED_STEPS:
                return
        elif math.isfinite(norm) and all(map(math.isfinite, terms.values())):
            return
        bad_terms = [name for name, value in terms.items() if not math.isfinite(value)]
        gradients = {
            name: parameter.grad
            for name, parameter in self.module.named_parameters()
            if parameter.grad is not None
        }
        raise TrainingError(
            f"step {self.counters.step + 1} is not finite: of the loss "
            f"{', '.join(bad_terms) or 'nothing'}, of the gradients "
            f"{describe_not_finite(gradients)}. It was not taken, and the state in {self.folder} "
            "is the last one saved; lower learning_rate or max_gradient_norm, use precision "
            "float32 or bfloat16, or check the data"
        )

    # now and then

    def _log(self, rate: float) -> None:
        counters = self.counters
        means = {name: value / counters.term_steps for name, value in counters.term_sums.items()}
        counters.term_sums, counters.term_steps = {}, 0
        if self.is_main:
            step, epoch = counters.step, counters.step // self.steps_per_epoch
            line = {"step": step, "epoch": epoch, "seconds": counters.seconds}
            numbers = {"learning_rate": rate, **means, "waiting": self.waited / self.worked}
            self.journal.write({**line, **numbers})
            self.journal.show_numbers(step, {f"train/{name}": v for name, v in numbers.items()})
        self.waited = self.worked = 0.0

    def _end_epoch(self) -> None:
        for average in self.averages.values():
            if average.config.every == "epoch":
                average.update(self.task.network)
        epoch = self.counters.step // self.steps_per_epoch
        if self.task.validator is not None and epoch % self.config.validate_every_epochs == 0:
            self._validate()

    def _candidates(self) -> Iterator[str]:
        """Give the names of all weights that could be handed out, each in place in its turn."""
        for name, average in self.averages.items():
            if average.updates:
                with average.in_place(self.task.network):
                    yield name
        yield NETWORK

    def _validate(self) -> None:
        """Score all candidates, keep the best one, write down the scores."""
        assert self.task.validator is not None
        counters = self.counters
        counters.validated_step = counters.step
        found: dict[str, Validation] = {}
        for name in self._candidates():
            self.module.eval()
            with torch.no_grad(), self.accelerator.autocast():
                found[name] = from_main(self.accelerator, self.task.validator(self.task.network))
            self.module.train()
            self._keep_if_best(name, found[name].scores)
        self.mark = time.perf_counter()
        if self.is_main:
            step, epoch = counters.step, counters.step // self.steps_per_epoch
            scores = {name: validation.scores for name, validation in found.items()}
            self.journal.write({"step": step, "epoch": epoch, "validation": scores})
            for name, validation in found.items():
                shown = {f"{name}/{score}": value for score, value in validation.scores.items()}
                self.journal.show_numbers(step, {f"valid/{k}": v for k, v in shown.items()})
            for name, audio in next(iter(found.values())).excerpts.items():
                self.journal.show_audio(step, name, audio)

    def _keep_if_best(self, name: str, scores: dict[str, float]) -> None:
        best, score = self.counters.best, scores.get(self.config.best)
        if score is None:
            raise ConfigError(
                f"best = {self.config.best!r} is to pick the weights, and the validation gives "
                f"{', '.join(scores) or 'no scores'}; --set training.best to one of those"
            )
        is_greater_better = self.config.best.startswith(GREATER_IS_BETTER)
        if best is None or (score > best.score if is_greater_better else score < best.score):
            self.counters.best = Best(name, score, self.counters.step, scores)
            self.best_weights = whole(self.task.network.state_dict())
            if self.module.quantiser is not None:
                self.best_bits = self.module.quantiser.bits()

    def save(self) -> None:
        """Write the state; all processes must call this."""
        scaler = self.accelerator.scaler
        tensors = {
            "module": whole(self.module.state_dict()),
            "optimizer": whole(self.optimizer.optimizer.state_dict()),
            "averages": {
                name: {"updates": average.updates, "values": whole(average.values)}
                for name, average in self.averages.items()
            },
            "best": self.best_weights,
            "best_bits": self.best_bits,
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        if self.is_main:
            self.counters.log_lines = self.journal.lines
            write_state(
                self.folder / STATE_FILE,
                counters=self.counters,
                description=self.description,
                tensors=tensors,
            )
        self.mark = time.perf_counter()

    def _result(self) -> Trained:
        """Return the best weights, the first average, or the network as it is."""
        counters = self.counters
        quantiser = self.module.quantiser
        packing: dict[str, Any] = {}
        if quantiser is not None:
            bits = quantiser.bits() if self.best_bits is None else self.best_bits
            packing = {"bits": bits, "group_size": quantiser.config.group_size}
        averages = [(name, average) for name, average in self.averages.items() if average.updates]
        if counters.best is not None and self.best_weights is not None:
            weights, candidate = self.best_weights, counters.best.candidate
        elif averages:
            candidate, weights = averages[0][0], whole(averages[0][1].values)
        else:
            candidate, weights = NETWORK, whole(self.task.network.state_dict())
        return Trained(
            weights=weights,
            candidate=candidate,
            step=counters.step,
            seconds=counters.seconds,
            scores=None if counters.best is None else counters.best.scores,
            packing=packing,
            is_main_process=self.is_main,
        )


class _Meter:
    """How fast it goes, since this piece of the run began."""

    def __init__(self, share: float, batch_size: int) -> None:
        self.began = time.perf_counter()
        self.first_share = share
        self.batch_size = batch_size
        self.steps = 0

    def progress(self, position: Position, *, rate: float, loss: float) -> Progress:
        """Return where the run stands."""
        self.steps += 1
        elapsed = time.perf_counter() - self.began
        gained = position.share - self.first_share
        return Progress(
            step=position.step,
            epoch=int(position.epoch),
            share=position.share,
            loss=loss,
            learning_rate=rate,
            items_per_second=self.steps * self.batch_size / elapsed,
            seconds_left=elapsed * (1.0 - position.share) / gained if gained > 0 else math.inf,
        )
