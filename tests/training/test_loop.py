"""The loop learns, logs, averages, validates; stopped and resumed, it ends bit for bit the same."""

from __future__ import annotations

import json

import pytest
import torch

from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.loop import Task, train
from audiform.training.schedule import ConstantSchedule
from audiform.training.state import read_state
from audiform.training.validation import LossValidator
from tests.training.tasks import Gains, NoiseExamples, gains_objective

CONFIG = TrainingConfig(
    seed=3,
    batch_size=4,
    learning_rate=0.05,
    schedule=ConstantSchedule(),
    max_steps=12,
    steps_per_epoch=5,
    averages=(AverageConfig(decay=0.9), AverageConfig(decay=0.5, every="epoch")),
    log_every_steps=2,
    num_workers=0,
    tensorboard=False,
)


def run(folder, *, resume=False, validate=True, on_progress=None, **changed):
    torch.manual_seed(0)
    validator = LossValidator(gains_objective, NoiseExamples(seed=1)) if validate else None
    return train(
        Task(Gains(), gains_objective, NoiseExamples(), validator),
        CONFIG.model_copy(update=changed),
        folder=folder,
        resume=resume,
        on_progress=on_progress,
    )


def tensors(value, prefix=""):
    """Flatten what a state holds."""
    if isinstance(value, dict):
        return {
            k: v
            for key, entry in value.items()
            for k, v in tensors(entry, f"{prefix}.{key}").items()
        }
    if isinstance(value, list):
        return tensors(dict(enumerate(value)), prefix)
    return {prefix: value}


def assert_equal_states(first, second):
    one, other = (read_state(folder / "state.pt") for folder in (first, second))
    for name, value in tensors(one[2]).items():
        found = tensors(other[2])[name]
        equal = torch.equal(value, found) if isinstance(value, torch.Tensor) else value == found
        assert equal, name
    one[0].seconds = other[0].seconds = 0.0
    assert one[0] == other[0]


def log(folder):
    """Return the lines of a log without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_the_loop_learns_logs_validates_and_averages(tmp_path):
    seen = []
    trained = run(tmp_path, max_steps=40, on_progress=seen.append)
    assert [now.step for now in seen] == list(range(1, 41))
    assert seen[-1].share == 1.0
    lines = log(tmp_path)
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(2, 41, 2))
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.7 * losses[0]
    validated = [line["step"] for line in lines if "validation" in line]
    assert validated == list(range(5, 41, 5))
    names = {"average-step-0.9", "average-epoch-0.5", "network"}
    assert set(lines[-1]["validation"]) == names
    best = min(
        (scores["loss"], name)
        for line in lines
        if "validation" in line
        for name, scores in line["validation"].items()
    )
    assert trained.candidate == best[1]
    assert trained.scores["loss"] == pytest.approx(best[0], rel=1e-6)
    assert trained.weights["logits"].argmax() == 0


@pytest.mark.parametrize("changed", [{}, {"accumulate": 2}, {"num_workers": 2}], ids=str)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(tmp_path, changed):
    run(tmp_path / "whole", **changed)
    for stop in (3, 7):

        def interrupt(now, stop=stop):
            if now.step == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(
                tmp_path / "parts",
                resume=stop > 3,
                save_every_steps=2,
                on_progress=interrupt,
                **changed,
            )
    run(tmp_path / "parts", resume=True, **changed)
    assert_equal_states(tmp_path / "whole", tmp_path / "parts")
    assert log(tmp_path / "whole") == log(tmp_path / "parts")


def test_workers_do_not_change_what_is_trained_on(tmp_path):
    run(tmp_path / "none")
    run(tmp_path / "two", num_workers=2)
    assert_equal_states(tmp_path / "none", tmp_path / "two")
