"""Learned bits: noise as large as rounding, gradients for all, the size that was promised."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from audiform.checkpoints import build_model, read_checkpoint, write_checkpoint
from audiform.errors import ConfigError
from audiform.models.demucs import Demucs, DemucsConfig
from audiform.training.config import TrainingConfig
from audiform.training.folder import LOG_FILE, STATE_FILE
from audiform.training.loop import Task, train
from audiform.training.quantise import PseudoQuantiser, QuantiserConfig
from audiform.training.schedule import ConstantSchedule
from audiform.training.state import read_state
from audiform.training.validation import Validation
from tests.models_for_tests import TINY_HTDEMUCS, tiny_htdemucs
from tests.training.tasks import Gains, NoiseExamples, gains_objective

ALL = QuantiserConfig(min_size_mb=0.0, initial_bits=4.0)


class Small(nn.Module):
    """A recurrent network, which keeps its weights twice, and a layer that is shared."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 8, num_layers=2, bidirectional=True)
        self.first = nn.Linear(16, 16)
        self.second = nn.Linear(16, 16)
        self.second.weight = self.first.weight

    def forward(self, features):
        return self.second(self.first(self.lstm(features)[0]))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Small()


FEATURES = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_noise_is_uniform_over_one_step(network):
    quantiser = PseudoQuantiser(network, ALL)
    weight = network.first.weight
    step = (weight.max() - weight.min()).item() / (2**4 - 1)
    differences = []
    for seed in range(50):
        with quantiser.noise(network, generator(seed)):
            differences.append((network.first.weight - weight).detach())
    difference = torch.cat(differences)
    assert difference.abs().max() <= step / 2 * 1.001
    assert difference.std().item() == pytest.approx(step / 12**0.5, rel=0.02)
    assert abs(difference.mean().item()) < 0.02 * step


def test_noise_depends_on_the_generator_alone(network):
    quantiser = PseudoQuantiser(network, ALL)
    outputs = []
    for seed in (1, 1, 2):
        torch.rand(3)
        with quantiser.noise(network, generator(seed)):
            outputs.append(network(FEATURES))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_weights_and_bits_get_gradients_and_the_network_is_left_as_it_was(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    expected = network(FEATURES)
    quantiser = PseudoQuantiser(network, ALL)
    with quantiser.noise(network, generator()):
        network(FEATURES).square().mean().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())
    assert all(logits.grad.any() for logits in quantiser.logits)
    assert network.second.weight is network.first.weight
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(network(FEATURES), expected)


def test_the_network_is_left_as_it_was_after_an_error(network):
    expected = network(FEATURES)
    with (
        pytest.raises(ZeroDivisionError),
        PseudoQuantiser(network, ALL).noise(network, generator()),
    ):
        raise ZeroDivisionError
    assert torch.equal(network(FEATURES), expected)


def test_gradients_are_those_of_finite_differences():
    """In double precision, with the noise held still."""
    network = nn.Linear(4, 2, bias=False).double()
    quantiser = PseudoQuantiser(network, ALL).double()
    inputs = torch.randn(3, 4, generator=generator(2)).double()

    def loss():
        with quantiser.noise(network, generator(3)):
            return network(inputs).square().sum() + quantiser.penalty()

    loss().backward()
    logits, weight = quantiser.logits[0], network.weight
    inner = weight.detach().flatten().sort().indices[3].item()  # not an end of the range
    for parameter, index in ((logits, 0), (weight, inner)):
        flat = parameter.data.view(-1)
        start, values = flat[index].item(), []
        for change in (1e-6, -1e-6):
            flat[index] = start + change
            values.append(loss().item())
        flat[index] = start
        slope = (values[0] - values[1]) / 2e-6
        assert parameter.grad.view(-1)[index].item() == pytest.approx(slope, rel=1e-5)


def test_the_penalty_is_the_size_and_pulls_bits_down(network):
    quantiser = PseudoQuantiser(network, ALL.model_copy(update={"penalty": 3.0}))
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert quantiser.size_mb().item() == pytest.approx(weights * 4 / 8 / 2**20)
    quantiser.penalty().backward()
    assert all((logits.grad > 0).all() for logits in quantiser.logits)
    assert quantiser.penalty().item() == pytest.approx(3.0 * quantiser.size_mb().item())


def test_training_lowers_bits_where_weights_do_not_matter():
    network = nn.Linear(16, 8, bias=False)
    quantiser = PseudoQuantiser(network, ALL.model_copy(update={"penalty": 100.0}))
    optimiser = torch.optim.Adam(quantiser.parameters(), lr=0.1)
    inputs = torch.randn(64, 16, generator=generator(4))
    inputs[:, 8:] = 0.0  # half of each row's groups see nothing
    target = network(inputs).detach()
    for step in range(200):
        optimiser.zero_grad()
        with quantiser.noise(network, generator(step)):
            loss = 100 * (network(inputs) - target).square().mean() + quantiser.penalty()
        loss.backward()
        optimiser.step()
    bits = quantiser.bits()["weight"].reshape(8, 2)
    assert (bits[:, 1] == 2).all()
    assert (bits[:, 0] > 3).all()


def test_what_is_exported_is_what_was_rehearsed(tmp_path):
    """The same weights, and a file of the size that was told before."""
    network = tiny_htdemucs()
    quantiser = PseudoQuantiser(network, QuantiserConfig(min_size_mb=0.002))
    with torch.no_grad():
        for logits in quantiser.logits:
            logits.add_(torch.randn(logits.shape, generator=generator(5)))
    path = write_checkpoint(
        tmp_path / "m.safetensors",
        architecture="htdemucs",
        config=TINY_HTDEMUCS,
        state=network.state_dict(),
        sources=TINY_HTDEMUCS.sources,
        sample_rate=TINY_HTDEMUCS.sample_rate,
        bits=quantiser.bits(),
        group_size=quantiser.config.group_size,
        half=True,
    )
    mixture = torch.randn(1, 2, 5000, generator=generator(6))
    with torch.no_grad(), quantiser.rounded(network):
        expected = network(mixture)
        small = [name for name, _ in network.named_parameters() if name not in quantiser.names]
        half = {name: network.get_parameter(name).half().float() for name in small}
    found = read_checkpoint(path).state
    assert all(torch.equal(found[name], value) for name, value in half.items())
    with torch.no_grad():
        restored = build_model(read_checkpoint(path))(mixture)
    assert (restored - expected).abs().max() < 0.01 * expected.abs().max()  # of float16
    length = int.from_bytes(path.read_bytes()[:8], "little")
    tensors_mb = (path.stat().st_size - length - 8) / 2**20
    assert quantiser.true_size_mb(half=True) == pytest.approx(tensors_mb, rel=0.01)


def test_the_size_of_a_network_is_within_a_few_percent_with_its_header(tmp_path):
    config = DemucsConfig(hidden_channels=32, depth=3)
    network = Demucs(config)
    quantiser = PseudoQuantiser(network, QuantiserConfig(initial_bits=3.0))
    path = write_checkpoint(
        tmp_path / "m.safetensors",
        architecture="demucs",
        config=config,
        state=network.state_dict(),
        sources=config.sources,
        sample_rate=config.sample_rate,
        bits=quantiser.bits(),
    )
    size_mb = path.stat().st_size / 2**20
    assert quantiser.true_size_mb() == pytest.approx(size_mb, rel=0.06)
    assert path.stat().st_size < sum(p.numel() for p in network.parameters()) * 4 / 7


def test_a_run_learns_bits_and_its_state_keeps_them(tmp_path):
    quantiser = QuantiserConfig(min_size_mb=0.0, penalty=1e3)
    config = TrainingConfig(
        batch_size=2, max_steps=4, log_every_steps=1, learning_rate=1e-3, num_workers=0,
        schedule=ConstantSchedule(), quantiser=quantiser, tensorboard=False,
    )  # fmt: skip

    def run(folder, steps, resume=False):
        torch.manual_seed(0)
        task = Task(Gains(), gains_objective, NoiseExamples())
        changed = config.model_copy(update={"max_steps": steps})
        return train(task, changed, folder=folder, resume=resume)

    whole = run(tmp_path / "a", 4)
    assert (whole.packing["bits"]["mix.weight"] <= 8).all()
    sizes = [json.loads(line)["size_mb"] for line in (tmp_path / "a" / LOG_FILE).open()]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    run(tmp_path / "b", 2)
    run(tmp_path / "b", 4, resume=True)
    states = [read_state(tmp_path / name / STATE_FILE)[2]["module"] for name in "ab"]
    assert any(name.startswith("quantiser") for name in states[0])
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_the_best_weights_are_packed_with_the_bits_they_were_scored_with(tmp_path):
    scores = iter([2.0, 1.0])
    seen = []

    def validator(network):
        seen.append(network.logits.detach().clone())
        return Validation({"sdr": next(scores)})

    config = TrainingConfig(
        batch_size=2, max_steps=40, steps_per_epoch=1, validate_every_epochs=20, best="sdr",
        learning_rate=0.005, schedule=ConstantSchedule(), num_workers=0, tensorboard=False,
        quantiser=QuantiserConfig(min_size_mb=0.0, penalty=1e3),
    )  # fmt: skip
    task = Task(Gains(), gains_objective, NoiseExamples(), validator)
    trained = train(task, config, folder=tmp_path)
    saved = read_state(tmp_path / STATE_FILE)[2]
    assert torch.equal(trained.weights["logits"], seen[0])
    found = trained.packing["bits"]
    assert all(torch.equal(found[name], bits) for name, bits in saved["best_bits"].items())
    last = PseudoQuantiser(Gains(), config.quantiser)
    last.load_state_dict(
        {name.partition(".")[2]: value for name, value in saved["module"].items()
         if name.startswith("quantiser.")}
    )  # fmt: skip
    assert any(not torch.equal(found[name], bits) for name, bits in last.bits().items())


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="must lie between"):
        QuantiserConfig(initial_bits=20.0)
    with pytest.raises(ConfigError, match="lower min_size_mb"):
        PseudoQuantiser(nn.Linear(2, 2), QuantiserConfig())
