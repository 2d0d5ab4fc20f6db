"""Magnitude and phase: derivatives written out, against those of autograd and differences."""

import torch

from audiform.nn.polar import PHASE_OFFSET, from_polar, to_polar


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return a.requires_grad_(), b.requires_grad_()


def test_values_are_those_of_complex_numbers() -> None:
    real, imaginary = pair(50)
    magnitude, phase = to_polar(real, imaginary)
    expected = torch.complex(real + PHASE_OFFSET, imaginary)
    torch.testing.assert_close(magnitude, torch.complex(real, imaginary).abs())
    torch.testing.assert_close(phase, expected.angle())
    back = torch.polar(magnitude, phase)
    torch.testing.assert_close(torch.complex(*from_polar(magnitude, phase)), back)


def test_gradients_are_those_of_differences() -> None:
    assert torch.autograd.gradcheck(to_polar, pair(20))
    assert torch.autograd.gradcheck(from_polar, pair(20))


def test_silence_has_magnitude_nothing_and_finite_gradients() -> None:
    real, imaginary = torch.zeros(2, 5).requires_grad_().unbind()
    magnitude, phase = to_polar(real, imaginary)
    gradients = torch.autograd.grad((magnitude + phase).sum(), (real, imaginary))
    assert magnitude.max() < 1e-16
    assert not phase.any()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
