"""The loss that effects are trained with."""

from __future__ import annotations

import torch

from audiform.training.effect import EffectLossConfig, EffectObjective

PLAIN = EffectLossConfig(pre_emphasised_esr=0.0)


def terms(config: EffectLossConfig, errors: list[float], powers: list[float]) -> dict:
    """Return the terms of an estimate whose items err by constants."""
    wet = torch.zeros(len(errors), 1, 100)
    estimate = wet + torch.tensor(errors)[:, None, None]
    return EffectObjective(config).terms(estimate, wet, torch.tensor(powers))


def test_a_small_ratio_counts_as_it_is() -> None:
    found = terms(PLAIN, [0.001], [1.0])
    torch.testing.assert_close(found["loss"], torch.tensor(1e-6), rtol=1e-4, atol=0)


def test_one_nearly_silent_recording_does_not_outweigh_the_others() -> None:
    errors = torch.tensor([0.05, 0.05], requires_grad=True)
    wet = torch.zeros(2, 1, 100)
    powers = torch.tensor([1.0, 1e-8])
    EffectObjective(PLAIN).terms(wet + errors[:, None, None], wet, powers)["loss"].backward()
    loud, quiet = errors.grad.tolist()
    assert 0 < quiet < 20 * loud  # their ratios are a hundred million to one


def test_the_terms_that_are_logged_are_not_bent() -> None:
    found = terms(PLAIN, [1.0], [0.01])
    torch.testing.assert_close(found["esr"], torch.tensor(100.0))
    assert found["loss"] < 0.3
