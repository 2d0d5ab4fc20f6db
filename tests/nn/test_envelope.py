"""Followers that run in parallel, against the loops that define them."""

import pytest
import torch

from audiform.nn.envelope import STRETCH, follow_peaks, smooth

#: Memory of one sample, of a hundred, and of seven seconds at 44.1 kHz.
RATES = torch.tensor([[1.0, 0.01, 3e-6]]).double()


def level(samples: int) -> torch.Tensor:
    return torch.rand(1, 3, samples, generator=torch.Generator().manual_seed(0)) - 0.3


def by_loop(u: torch.Tensor, state: torch.Tensor, *, peaks: bool) -> torch.Tensor:
    decay, results = torch.exp(-RATES), []
    for value in u.double().unbind(-1):
        state = decay * state + (1 - decay) * value
        state = torch.maximum(value, state) if peaks else state
        results.append(state)
    return torch.stack(results, dim=-1)


@pytest.mark.parametrize("peaks", [True, False])
def test_it_is_the_recursion_that_it_says(peaks) -> None:
    u, state = level(2 * STRETCH + 7), torch.full((1, 3), 0.4).double()
    found, last = (follow_peaks if peaks else smooth)(u, RATES, state)
    torch.testing.assert_close(found, by_loop(u, state, peaks=peaks), atol=1e-12, rtol=0)
    assert torch.equal(last, found[..., -1])


@pytest.mark.parametrize("follow", [follow_peaks, smooth])
def test_a_slow_release_survives_blocks_of_one_sample(follow) -> None:
    u, state = level(600), torch.full((1, 3), 0.9).double()
    whole, _ = follow(u, RATES, state)
    for n in range(600):
        found, state = follow(u[..., n : n + 1], RATES, state)
        torch.testing.assert_close(found[..., 0], whole[..., n], atol=1e-12, rtol=0)


@pytest.mark.parametrize("follow", [follow_peaks, smooth])
def test_gradients_are_those_of_differences(follow) -> None:
    u = level(12).double().requires_grad_()
    rates = torch.tensor([[0.5, 0.1, 0.01]]).double().requires_grad_()
    state = torch.full((1, 3), 0.2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: follow(*a)[0], (u, rates, state))
