from __future__ import annotations

import torch

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
