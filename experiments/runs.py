"""One run: an arm and a seed, trained, scored and kept; a second call reads what was kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiform.errors import ConfigError
from audiform.nn.magnitude_masks import MagnitudeMaskModel
from audiform.training.config import TrainingConfig
from audiform.training.examples import Batch
from audiform.training.folder import LOG_FILE
from audiform.training.frame_pretraining import start_from
from audiform.training.loop import Task, train
from audiform.training.schedule import CosineSchedule
from experiments.arms import ARMS, Arm
from experiments.examples import Crops
from experiments.pretraining import Pretraining
from experiments.scores import Unheard
from experiments.settings import Settings
from experiments.songs import Songs

OnRun = Callable[[str], None]
Built = TypeVar("Built")

#: Magnitudes are small numbers, and so would gradients be, beside the epsilon of Adam.
ERROR_WEIGHT = 100.0

#: Steps of which the quickest tells what an arm costs.
TIMED_STEPS = 8


class RunResult(BaseModel):
    """What is kept of a run; ``curve`` has the scores by step, ``pretraining`` its losses.

    ``seconds_per_step`` is by the clock, with whatever else the machine did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    seed: int
    description: dict[str, Any]
    weights: int
    seconds_per_step: float
    curve: list[dict[str, float]]
    pretraining: list[dict[str, float]] = []

    def final(self, score: str) -> float:
        """Return a score after the last step."""
        return self.curve[-1][score]


def mask_error(network: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """The texts' loss: the mean absolute error of the masked magnitudes, times a number.

    An objective (:class:`audiform.training.objective.Objective`).
    """
    assert isinstance(network, MagnitudeMaskModel)
    (masks,) = network.core(batch["mixture"])
    error = (masks[:, 0] * batch["mixture"] - batch["instrumental"]).abs().mean()
    return {"loss": ERROR_WEIGHT * error}


class Runs:
    """Runs of a series, kept in ``folder``: figures, weights, and what is half done."""

    def __init__(
        self, songs: Songs, settings: Settings, *, folder: Path, on_run: OnRun | None = None
    ) -> None:
        self.songs = songs
        self.settings = settings
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.unheard = Unheard(songs, settings)
        self._on_run = on_run or (lambda name: None)

    def result(self, arm_name: str, seed: int) -> RunResult:
        """Return the figures of a run, which is trained unless it was.

        Raises :class:`ConfigError` where the folder has this run of other settings.
        """
        path = self.folder / f"{arm_name}-{seed}.json"
        arm = ARMS[arm_name]
        description = {
            "arm": arm.model_dump(mode="json"),
            "settings": self.settings.model_dump(mode="json"),
            "songs": [song.name for song in self.songs.train],
        }
        if path.exists():
            kept = RunResult.model_validate_json(path.read_text(encoding="utf-8"))
            if kept.description != description:
                raise ConfigError(
                    f"{path} is a run of other settings or songs; choose another --work folder, "
                    "or delete it"
                )
            return kept
        self._on_run(f"{arm_name}, seed {seed}")
        result = self._train(arm_name, arm, seed, description)
        write_aside(path, result.model_dump_json(indent=1) + "\n")
        return result

    def network(self, arm_name: str, seed: int) -> MagnitudeMaskModel:
        """Return the trained network of a run, in evaluation mode."""
        self.result(arm_name, seed)
        network = ARMS[arm_name].build()
        network.load_state_dict(load_file(self._weights(arm_name, seed)))
        return network.eval()

    def processor_seconds(self, arm_name: str) -> float:
        """Return what a training step of an arm costs a processor: the least of a few."""
        network = seeded(ARMS[arm_name].build, 0)
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.settings.learning_rate)
        batch = Crops(self.songs.train, self.settings, seed=0)(0)
        seconds = []
        for _ in range(TIMED_STEPS):
            started = time.process_time()
            with sdpa_kernel(SDPBackend.MATH):
                mask_error(network, batch, torch.Generator())["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds.append(time.process_time() - started)
        return min(seconds)

    def _weights(self, name: str, seed: int) -> Path:
        return self.folder / f"{name}-{seed}.safetensors"

    def _train(self, arm_name: str, arm: Arm, seed: int, description: dict[str, Any]) -> RunResult:
        labelled = self.songs.train[: arm.labelled_songs]
        steps = round(arm.steps_factor * self.settings.steps)
        crops = Crops(labelled, self.settings, seed=seed)
        pretrained = None if arm.pretraining is None else self._pretrained(arm, seed)
        network = seeded(arm.build, seed)
        if pretrained is not None:
            start_from(network, pretrained[0])
        log = self._fit(
            f"{arm_name}-{seed}",
            Task(network, mask_error, crops, self.unheard),
            steps=steps,
            seed=seed,
        )
        save_aside(self._weights(arm_name, seed), network.state_dict())
        return RunResult(
            arm=arm_name,
            seed=seed,
            description=description,
            weights=sum(parameter.numel() for parameter in network.parameters()),
            seconds_per_step=[line["seconds"] for line in log if "seconds" in line][-1] / steps,
            curve=[
                {"step": line["step"], **line["validation"]["network"]}
                for line in log
                if "validation" in line
            ],
            pretraining=[] if pretrained is None else pretrained[1],
        )

    def _pretrained(
        self, arm: Arm, seed: int
    ) -> tuple[Mapping[str, Tensor], list[dict[str, float]]]:
        """Return weights that know the songs' mixtures, and the losses on the way to them.

        Arms that differ in the labelled songs alone share them.
        """
        assert arm.pretraining is not None
        name = f"pretraining-{arm.pretraining}"
        weights, losses = self._weights(name, seed), self.folder / f"{name}-{seed}.json"
        if not losses.exists():
            self._on_run(f"{name}, seed {seed}")
            pretraining = Pretraining(arm.pretraining)
            pretrainer = seeded(
                lambda: pretraining.pretrainer(arm.build(), self.songs.train, self.settings), seed
            )
            log = self._fit(
                f"{name}-{seed}",
                Task(
                    pretrainer,
                    pretraining.objective,
                    pretraining.examples(self.songs.train, self.settings, seed=seed),
                ),
                steps=self.settings.pretraining_steps,
                seed=seed,
            )
            save_aside(weights, pretrainer.network.state_dict())
            write_aside(losses, json.dumps(log, indent=1) + "\n")
        return load_file(weights), json.loads(losses.read_text(encoding="utf-8"))

    def _fit(self, name: str, task: Task, *, steps: int, seed: int) -> list[dict[str, Any]]:
        """Train the task's network; return the log."""
        folder = self.folder / "unfinished" / name
        settings = self.settings
        config = TrainingConfig(
            seed=seed,
            batch_size=settings.batch_size,
            max_steps=steps,
            steps_per_epoch=settings.validate_every,
            optimizer="adamw",
            learning_rate=settings.learning_rate,
            weight_decay=1e-2,
            max_gradient_norm=5.0,
            schedule=CosineSchedule(warmup_steps=settings.warmup_steps),
            log_every_steps=min(settings.validate_every, steps),
            tensorboard=False,
            num_workers=0,
        )
        with sdpa_kernel(SDPBackend.MATH):  # backward, a CPU is quicker with the plain form
            train(task, config, folder=folder, resume=True)
        lines = (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
        shutil.rmtree(folder)
        return [json.loads(line) for line in lines]


def seeded(build: Callable[[], Built], seed: int) -> Built:
    """Return what ``build`` makes with the global generator at ``seed``, and leave that alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def save_aside(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write weights; under ``path`` is either all of them or nothing."""
    part = path.with_name(path.name + ".part")
    save_file({name: value.contiguous() for name, value in tensors.items()}, part)
    part.replace(path)


def write_aside(path: Path, text: str) -> None:
    """Write a text; under ``path`` is either all of it or nothing."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
