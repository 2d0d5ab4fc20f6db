"""The loop: draw, forward, backward, step; log and save now and then.

It knows neither songs nor networks: ``draw_batch`` gives stems as spectra, ``estimate`` turns
the network and a mixture's spectrum into estimated ones.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from audiform.training.config import TrainingConfig
from audiform.training.losses import relative_error
from audiform.training.quantise import PseudoQuantiser
from audiform.training.state import TrainingState

Spectra = Complex[Tensor, "batch source channel bin frame"]
DrawBatch = Callable[[torch.Generator], Spectra]
Estimate = Callable[[nn.Module, Complex[Tensor, "batch channel bin frame"]], Spectra]

#: Keeps the noise of a step apart from its batch.
NOISE_SEED_OFFSET = 500_009

STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"


def progress(config: TrainingConfig, *, step: int, seconds: float) -> float:
    """Return the share of the run that is spent, in [0, 1]."""
    shares = [0.0]
    if config.max_steps is not None:
        shares.append(step / config.max_steps)
    if config.max_seconds is not None:
        shares.append(seconds / config.max_seconds)
    return min(1.0, max(shares))


def learning_rate(config: TrainingConfig, share: float) -> float:
    """Return the rate after this share of the run: linear up, then a half cosine to zero."""
    if share < config.warmup_share:
        return config.learning_rate * (share / config.warmup_share) + 1e-6
    rest = (share - config.warmup_share) / (1.0 - config.warmup_share)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * rest))


def batch_generator(seed: int, step: int) -> torch.Generator:
    """Return the generator that the batch of this step is drawn with."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def new_state(network: nn.Module, config: TrainingConfig) -> TrainingState:
    """Return the state before the first step. Vectors (norms, biases) are not decayed."""
    matrices = [p for p in network.parameters() if p.ndim >= 2]
    vectors = [p for p in network.parameters() if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    quantiser = None
    if config.quantiser is not None:
        quantiser = PseudoQuantiser(network, config.quantiser)
        groups.append(
            {
                "params": list(quantiser.parameters()),
                "weight_decay": 0.0,
                "rate_factor": config.quantiser.rate_factor,
            }
        )
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99))
    return TrainingState(network, optimiser, quantiser)


def _noise(state: TrainingState, config: TrainingConfig) -> AbstractContextManager[None]:
    """Return what gives the network noisy weights in this step, where bits are learned."""
    if state.quantiser is None:
        return nullcontext()
    generator = batch_generator(config.seed + NOISE_SEED_OFFSET, state.step)
    return state.quantiser.noise(state.network, generator)


def train(
    state: TrainingState,
    config: TrainingConfig,
    *,
    draw_batch: DrawBatch,
    estimate: Estimate,
    folder: Path,
    on_progress: Callable[[int, float], None] | None = None,
) -> None:
    """Train until the configured end; write ``state.pt`` and ``log.jsonl`` to ``folder``.

    The batch of a step depends on the seed and the step's number alone, and is drawn in a
    second thread while the step before it is computed.

    ``on_progress(step, share)`` is called after each step. The state is saved at the end and
    every ``save_every_seconds``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state.network.train()
    weights = torch.tensor(config.source_weights)
    weights = weights / weights.sum()
    recent: list[Tensor] = []
    saved_at = state.seconds
    with ThreadPoolExecutor(max_workers=1) as drawer:
        coming = drawer.submit(draw_batch, batch_generator(config.seed, state.step))
        while (share := progress(config, step=state.step, seconds=state.seconds)) < 1.0:
            started = time.perf_counter()
            rate = learning_rate(config, share)
            for group in state.optimiser.param_groups:
                group["lr"] = rate * group.get("rate_factor", 1.0)
            reference = coming.result()
            coming = drawer.submit(draw_batch, batch_generator(config.seed, state.step + 1))
            autocast = torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16")
            with _noise(state, config), autocast:
                estimated = estimate(state.network, reference.sum(dim=1))
            losses = relative_error(estimate=estimated, reference=reference).mean(dim=0)
            state.optimiser.zero_grad(set_to_none=True)
            loss = losses @ weights
            if state.quantiser is not None:
                loss = loss + state.quantiser.penalty()
            loss.backward()
            nn.utils.clip_grad_norm_(state.network.parameters(), config.max_gradient_norm)
            state.optimiser.step()
            state.step += 1
            state.update_average(config.average_decay)
            recent.append(losses.detach())
            state.seconds += time.perf_counter() - started
            if state.step % config.log_every_steps == 0:
                mean = torch.stack(recent).mean(dim=0)
                recent = []
                line = {
                    "step": state.step,
                    "seconds": round(state.seconds, 1),
                    "learning_rate": round(rate, 7),
                    "loss": [round(value, 4) for value in mean.tolist()],
                }
                if state.quantiser is not None:
                    line["size_mb"] = round(state.quantiser.size_mb().item(), 3)
                with (folder / LOG_FILE).open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if state.seconds - saved_at >= config.save_every_seconds:
                state.save(folder / STATE_FILE)
                saved_at = state.seconds
            if on_progress is not None:
                on_progress(state.step, share)
    state.save(folder / STATE_FILE)
