"""What does not fit together is found before the first step, and named."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from audiform.errors import ConfigError, DataError, TrainingError
from audiform.training.config import TrainingConfig
from audiform.training.examples import Sound
from audiform.training.handshake import dry_run
from audiform.training.loop import Task, train
from audiform.training.objective import LossModule
from audiform.training.separation import SeparationObjective
from audiform.training.validation import LossValidator
from tests.models_for_tests import SOURCES, ShareModel
from tests.training.tasks import Gains, NoiseExamples, gains_objective

CONFIG = TrainingConfig(batch_size=2, max_steps=1, num_workers=0, tensorboard=False)


class Separator(ShareModel):
    """Has something to learn."""

    def __init__(self, **options):
        super().__init__(**options)
        self.gain = nn.Parameter(torch.ones(()))

    def core(self, *inputs):
        return tuple(self.gain * output for output in super().core(*inputs))


def run(folder, *, network=None, examples=None, sound=None, objective=None):
    task = Task(
        network if network is not None else Separator(),
        objective or SeparationObjective(),
        examples or NoiseExamples(),
        sound=sound,
    )
    return train(task, CONFIG, folder=folder)


def test_what_fits_trains(tmp_path):
    assert run(tmp_path, sound=Sound(44100, SOURCES)).step == 1


@pytest.mark.parametrize(
    ("options", "sound", "message"),
    [
        ({}, Sound(48000), "works at 44100 Hz, the data is read at 48000"),
        ({}, Sound(44100, SOURCES[::-1]), "in this order; the data has vocals, other, bass, drums"),
        ({"shares": (0.5, 0.5)}, None, "2 sources of 2 channels.*gives stems of shape"),
        ({"audio_channels": 1}, None, "4 sources of 1 channels"),
        ({"segment_samples": 60, "fixed_segment": True}, None, "cannot take more than"),
    ],
)
def test_a_model_that_does_not_fit_its_data_is_refused(tmp_path, options, sound, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, network=Separator(**options), sound=sound)
    assert not (tmp_path / "log.jsonl").exists()


def test_segments_shorter_than_the_models_are_warned_of(tmp_path, caplog):
    run(tmp_path, network=Separator(segment_samples=100, fixed_segment=True))
    assert "shorter than the" in caplog.text


def test_no_examples_are_an_error(tmp_path):
    with pytest.raises(DataError, match="training data is empty"):
        run(tmp_path, examples=NoiseExamples(draws_per_epoch=0))


def test_no_validation_examples_are_an_error():
    with pytest.raises(DataError, match="validation data is empty"):
        LossValidator(gains_objective, NoiseExamples(draws_per_epoch=0))


@dataclass(frozen=True)
class Broken(NoiseExamples):
    value: float = float("nan")

    def __call__(self, draw):
        batch = super().__call__(draw)
        batch["stems"][0, 0, 0, 0] = self.value
        return batch


def test_data_that_is_no_number_is_named(tmp_path):
    with pytest.raises(DataError, match="no numbers in stems"):
        run(tmp_path, examples=Broken())


def test_a_draw_of_another_size_is_refused(tmp_path):
    class Short(NoiseExamples):
        def __call__(self, draw):
            return {"stems": super().__call__(draw)["stems"][:1]}

    with pytest.raises(DataError, match="should hold 2 items"):
        run(tmp_path, examples=Short())


class Layered(nn.Module):
    """Two layers of which one divides by zero or roots it."""

    def __init__(self, *, forward=False, backward=False):
        super().__init__()
        self.first = nn.Linear(1, 1)
        self.second = nn.Linear(1, 1)
        self.forward_breaks, self.backward_breaks = forward, backward
        self.norm = nn.BatchNorm1d(2)

    def forward(self, mixture):
        x = self.norm(self.first(mixture[..., None])[..., 0])
        if self.forward_breaks:
            with torch.no_grad():
                self.second.weight.fill_(torch.inf)
        x = self.second(x[..., None])[..., 0]
        if self.backward_breaks:
            x = x + (self.first.weight - self.first.weight).sqrt().sum()
        return x[:, None].expand(-1, 4, -1, -1)


def test_a_loss_that_is_not_finite_names_the_layer(tmp_path):
    with pytest.raises(TrainingError, match=r"loss.*first in the output of second"):
        run(tmp_path, network=Layered(forward=True), objective=gains_objective)


def test_a_gradient_that_is_not_finite_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"the gradient of network.first.weight is not finite"):
        run(tmp_path, network=Layered(backward=True), objective=gains_objective)


def test_nothing_to_learn_is_an_error(tmp_path):
    network = Gains().requires_grad_(False)
    with pytest.raises(ConfigError, match="all of the network's weights are frozen"):
        run(tmp_path, network=network, objective=gains_objective)

    def objective(network, batch, generator):
        return {"loss": batch["stems"].mean().requires_grad_()}

    with pytest.raises(ConfigError, match="nothing can be learned"):
        run(tmp_path, objective=objective)


def test_a_weight_without_a_gradient_is_mentioned(tmp_path, caplog):
    network = Gains()
    network.unused = nn.Parameter(torch.zeros(3))
    run(tmp_path, network=network, objective=gains_objective)
    assert "got no gradient from the first draw, such as" in caplog.text


def test_a_full_disk_is_found_first(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 10))
    with pytest.raises(ConfigError, match="make room"):
        run(tmp_path)


def test_the_trial_leaves_no_trace():
    """Weights, running statistics and the global generator."""
    module = LossModule(Gains(), gains_objective)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(7)
    dry_run(module, module, NoiseExamples()(0), device=torch.device("cpu"), seed=1)
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(3), after)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(weight.grad is None for weight in module.parameters())
