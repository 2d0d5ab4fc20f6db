"""Training SignalTrain networks side by side: one pool of pairs, one loss, one schedule.

What the benchmarks attention_pays.py, attention_noise.py and attention_look_back.py share. A run
keeps its state in a folder every few steps and goes on from there when it is started again.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from audiform.data.effect_pairs import EffectPairs, PairTask, RenderedEffect
from audiform.metrics.effects import esr
from audiform.models import MODELS
from audiform.nn.chunked_effect import ChunkedEffect

RATE = 44100

#: Weight of the magnitudes in the published loss, and of the highest bin against the lowest (e^7).
MAGNITUDE_WEIGHT, HIGH_WEIGHT = 2e-6, 7.0

#: The published one-cycle schedule: this share of the steps rises, from 1/15 to all of the rate.
RISING_SHARE, FIRST_SHARE = 0.3, 1 / 15

#: Gradients are scaled down to this norm.
LARGEST_GRADIENT = 1.0

#: How often a run scores itself, and keeps its state.
SCORES_PER_RUN = 20

#: Examples that are scored at a time.
SCORED_AT_A_TIME = 32


@dataclass(frozen=True)
class Pool:
    """Rendered pairs: ``dry`` and ``wet`` (pair, time), ``knobs`` (pair, knob)."""

    dry: Tensor
    wet: Tensor
    knobs: Tensor


@dataclass(frozen=True)
class Run:
    """A network to train, and how long."""

    name: str
    network: str
    steps: int
    rate: float
    seed: int = 0
    batch: int = 200
    options: dict[str, Any] = field(default_factory=dict)


def render(task: PairTask, *, pairs: int, samples: int, seed: int, keep: Path) -> Pool:
    """Return rendered pairs; they are made once and kept in a file."""
    if not keep.exists():
        examples = EffectPairs(task, samples=samples, sample_rate=RATE, seed=seed, draw_size=pairs)
        made = examples(0)
        tensors = {"knobs": made["knobs"]}
        tensors |= {name: made[name][:, 0].contiguous() for name in ("dry", "wet")}
        keep.parent.mkdir(parents=True, exist_ok=True)
        aside = keep.with_suffix(".part")
        save_file(tensors, aside)
        aside.replace(keep)
    return Pool(**load_file(keep))


def published_loss(wet: Tensor, magnitudes: Tensor, target: Tensor) -> Tensor:
    """Return log cosh, and magnitudes that cost more the higher they lie."""
    bins = magnitudes.shape[1]
    slope = torch.exp(HIGH_WEIGHT * torch.arange(bins) / bins)[:, None]
    return log_cosh(wet - target) + MAGNITUDE_WEIGHT * (magnitudes.abs() * slope).mean()


def log_cosh(error: Tensor) -> Tensor:
    """Return the mean of log cosh."""
    error = error.abs()
    return (error + F.softplus(-2 * error) - math.log(2)).mean()


def learning_rate(highest: float, share: float) -> float:
    """Return the rate after a share of the steps: a cosine up, a cosine down."""
    if share < RISING_SHARE:
        risen = (1 - math.cos(math.pi * share / RISING_SHARE)) / 2
        return highest * (FIRST_SHARE + (1 - FIRST_SHARE) * risen)
    fallen = (share - RISING_SHARE) / (1 - RISING_SHARE)
    return highest * (1 + math.cos(math.pi * fallen)) / 2


def build(run: Run, task: RenderedEffect) -> ChunkedEffect:
    """Return the untrained network of a run."""
    torch.manual_seed(run.seed)
    entry = MODELS[run.network]
    network = entry.network(entry.config(knobs=task.knobs, **run.options))
    assert isinstance(network, ChunkedEffect)
    return network


def answer(network: ChunkedEffect, dry: Tensor, knobs: Tensor, *, at: int) -> tuple[Tensor, Tensor]:
    """Return what the network makes of the samples from number ``at`` on, and magnitudes."""
    frames = network.frames
    first = at - frames.context_samples
    chunks = dry[:, first : first + frames.chunk_samples + frames.latency_samples]
    wet, magnitudes = network.core(chunks, knobs)
    return wet, magnitudes


def estimate(network: ChunkedEffect, pool: Pool, *, at: int) -> Tensor:
    """Return all answers of a pool."""
    parts = zip(pool.dry.split(SCORED_AT_A_TIME), pool.knobs.split(SCORED_AT_A_TIME), strict=True)
    with torch.inference_mode():
        return torch.cat([answer(network, dry, knobs, at=at)[0] for dry, knobs in parts])


def score(network: ChunkedEffect, pool: Pool, *, at: int) -> dict[str, float]:
    """Return log cosh and ESR on pairs that were not trained on."""
    found = estimate(network, pool, at=at)
    target = pool.wet[:, at : at + found.shape[1]]
    ratio = esr(estimate=found.reshape(1, -1), reference=target.reshape(1, -1))
    return {"loss": log_cosh(found - target).item(), "esr": ratio.item()}


class Training:
    """A run on its way; its state is kept in ``folder``."""

    def __init__(
        self, run: Run, task: RenderedEffect, *, pool: Pool, unseen: Pool, at: range, folder: Path
    ) -> None:
        """``at``: where answers may begin, of which one is drawn for each step."""
        self.run, self.pool, self.unseen, self.at = run, pool, unseen, at
        self.network = build(run, task)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=run.rate)
        self.draws = torch.Generator().manual_seed(run.seed + 1)
        self.curve: list[dict[str, float]] = []
        self.seconds, self.steps = 0.0, 0
        self._state = folder / f"{run.name}.pt"
        if self._state.exists():
            self._load()

    def finish(self) -> list[dict[str, float]]:
        """Train to the end and return the curve."""
        every = max(1, self.run.steps // SCORES_PER_RUN)
        while self.steps < self.run.steps:
            started = time.process_time()
            self._step()
            self.seconds += time.process_time() - started
            self.steps += 1
            if self.steps % every == 0 or self.steps == self.run.steps:
                self._score()
                self._save()
        return self.curve

    def _step(self) -> None:
        run = self.run
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(run.rate, self.steps / run.steps)
        chosen = torch.randint(len(self.pool.dry), (run.batch,), generator=self.draws)
        polarity = torch.randint(0, 2, (run.batch, 1), generator=self.draws) * 2.0 - 1.0
        at = self.at[int(torch.randint(len(self.at), (1,), generator=self.draws))]
        wet, magnitudes = answer(
            self.network, self.pool.dry[chosen] * polarity, self.pool.knobs[chosen], at=at
        )
        target = self.pool.wet[chosen, at : at + wet.shape[1]] * polarity
        loss = published_loss(wet, magnitudes, target)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()

    def _score(self) -> None:
        found = score(self.network.eval(), self.unseen, at=self.at[len(self.at) // 2])
        self.network.train()
        self.curve.append({"step": self.steps, "seconds": round(self.seconds, 2), **found})
        print(self.run.name, json.dumps(self.curve[-1]), flush=True)

    def _save(self) -> None:
        aside = self._state.with_suffix(".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "draws": self.draws.get_state(),
                "curve": self.curve,
                "seconds": self.seconds,
                "steps": self.steps,
            },
            aside,
        )
        aside.replace(self._state)

    def _load(self) -> None:
        state = torch.load(self._state, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.draws.set_state(state["draws"])
        self.curve, self.seconds, self.steps = state["curve"], state["seconds"], state["steps"]
