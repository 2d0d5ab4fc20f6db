from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from audiform.errors import CheckpointError
from audiform.training.config import TrainingConfig
from audiform.training.loop import learning_rate, new_state, progress, train
from audiform.training.losses import relative_error


def spectra(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex64, generator=generator)


def test_error_of_a_share_of_the_mixture_is_that_share():
    reference = spectra(2, 4, 2, 9, 5)
    error = 0.3 * reference.sum(dim=1)[:, None]
    loss = relative_error(estimate=reference + error, reference=reference)
    # the floors move it by less than a thousandth
    torch.testing.assert_close(loss, torch.full((2, 4), 0.3), atol=1e-3, rtol=0)


def test_error_does_not_depend_on_the_level():
    reference, estimate = spectra(1, 4, 2, 9, 5), spectra(1, 4, 2, 9, 5, seed=1)
    loss = relative_error(estimate=estimate, reference=reference)
    louder = relative_error(estimate=30 * estimate, reference=30 * reference)
    torch.testing.assert_close(loss, louder, rtol=1e-5, atol=0)


def test_perfect_and_silent_stems_have_a_finite_gradient():
    reference = spectra(1, 4, 2, 9, 5)
    reference[:, 3] = 0
    estimate = reference.clone().requires_grad_()
    loss = relative_error(estimate=estimate, reference=reference)
    assert loss.max() < 0.011
    loss.sum().backward()
    assert torch.isfinite(torch.view_as_real(estimate.grad)).all()


def test_learning_rate_rises_and_falls_to_zero():
    config = TrainingConfig(learning_rate=1.0, warmup_share=0.1)
    rates = [learning_rate(config, share / 100) for share in range(101)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 10
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert rates[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.5)), abs=1e-9)


def test_progress_is_the_larger_share():
    config = TrainingConfig(max_steps=10, max_seconds=100.0)
    assert progress(config, step=5, seconds=10.0) == 0.5
    assert progress(config, step=1, seconds=90.0) == 0.9
    assert progress(config, step=20, seconds=0.0) == 1.0


class Gains(nn.Module):
    """A share of the mixture for each source: enough for a loop to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(1, 4))


def estimate(network: nn.Module, mixture: torch.Tensor) -> torch.Tensor:
    shares = network.logits.float().softmax(dim=1)[0]
    return shares[None, :, None, None, None] * mixture[:, None]


def draw(generator: torch.Generator) -> torch.Tensor:
    stems = torch.randn(2, 4, 2, 5, 3, dtype=torch.complex64, generator=generator)
    return stems * torch.tensor([3.0, 1.0, 1.0, 0.1])[None, :, None, None, None]


def run(folder, steps: int, *, resume: bool = False) -> nn.Module:
    config = TrainingConfig(
        seed=3, max_steps=steps, learning_rate=0.1, warmup_share=0.0, log_every_steps=5
    )
    # the schedule must not depend on where a run stops: a fixed rate for the comparison
    state = new_state(Gains(), config)
    if resume:
        state.load(folder / "state.pt")
    train(state, config, draw_batch=draw, estimate=estimate, folder=folder)
    return state


def test_the_loop_learns_logs_and_averages(tmp_path):
    state = run(tmp_path, 40)
    shares = state.network.logits.softmax(dim=1)[0]
    assert shares[0] > 0.6 > 0.1 > shares[3]
    assert not torch.equal(state.average.logits, state.network.logits)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(5, 41, 5))
    assert lines[-1]["loss"][0] < lines[0]["loss"][0]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr("audiform.training.loop.learning_rate", lambda config, share: 0.05)
    whole = run(tmp_path / "whole", 12)
    run(tmp_path / "parts", 5)
    parts = run(tmp_path / "parts", 12, resume=True)
    assert parts.step == whole.step == 12
    assert torch.equal(parts.network.logits, whole.network.logits)
    assert torch.equal(parts.average.logits, whole.average.logits)


def test_a_state_of_another_network_is_refused(tmp_path):
    run(tmp_path, 2)
    config = TrainingConfig(max_steps=2)
    other = new_state(nn.Linear(3, 3), config)
    with pytest.raises(CheckpointError, match="does not fit"):
        other.load(tmp_path / "state.pt")


def test_nothing_half_written_is_left(tmp_path):
    run(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.pt"]
