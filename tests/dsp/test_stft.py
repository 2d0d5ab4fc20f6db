import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiform.dsp.padding import pad_reflect
from audiform.dsp.stft import StftSpec, aligned_istft, aligned_stft, istft, stft
from audiform.errors import ConfigError

SPEC = StftSpec(n_fft=64, hop_length=16)


def direct_transform(frame: torch.Tensor) -> torch.Tensor:
    """A windowed DFT by its definition, much less efficiently."""
    size = len(frame)
    time = torch.arange(size, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * time / size)
    frequency = torch.arange(size // 2 + 1, dtype=torch.float64)
    phase = -2 * math.pi * frequency[:, None] * time / size
    return (torch.polar(torch.ones_like(phase), phase) @ (window * frame).to(torch.complex128)) / (
        math.sqrt(size)
    )


def test_stft_equals_a_direct_dft() -> None:
    audio = torch.randn(3, 200, dtype=torch.float64)
    found = stft(audio, SPEC)
    padded = pad_reflect(audio, 32, 32)
    for channel in range(3):
        for frame in range(found.shape[-1]):
            piece = padded[channel, frame * 16 : frame * 16 + 64]
            torch.testing.assert_close(found[channel, :, frame], direct_transform(piece))


@given(st.integers(1, 400))
def test_istft_inverts_stft_for_any_length(length: int) -> None:
    audio = torch.randn(2, length, dtype=torch.float64)
    found = istft(stft(audio, SPEC), SPEC, num_samples=length // 16 * 16 or length)
    torch.testing.assert_close(found, audio[:, : found.shape[-1]], atol=1e-10, rtol=0)


@given(st.integers(1, 400))
def test_aligned_stft_has_one_frame_per_hop(length: int) -> None:
    audio = torch.randn(2, 3, length)
    found = aligned_stft(audio, SPEC)
    assert found.shape == (2, 3, 32, -(-length // 16))


def test_frames_of_the_aligned_stft_stand_where_they_should() -> None:
    audio = torch.zeros(400, dtype=torch.float64)
    audio[163] = 1.0  # lies in [160, 176): frame 10
    energy = aligned_stft(audio, SPEC).abs().square().sum(dim=0)
    assert energy.argmax().item() == 10


def test_aligned_istft_inverts_inside_and_keeps_any_length() -> None:
    for length in (1, 15, 16, 17, 333):
        time = torch.arange(length, dtype=torch.float64)
        audio = torch.sin(2 * math.pi * 0.1 * time)  # nothing in the highest bin
        found = aligned_istft(aligned_stft(audio, SPEC), SPEC, num_samples=length)
        assert found.shape == audio.shape
        inner = slice(64, length - 64)
        torch.testing.assert_close(found[inner], audio[inner], atol=2e-3, rtol=0)


def test_an_aligned_transform_needs_a_quarter_hop() -> None:
    with pytest.raises(ConfigError, match="hop_length = 16"):
        aligned_stft(torch.zeros(100), StftSpec(64, 8))


def test_sizes_that_cannot_be_inverted_are_refused() -> None:
    for n_fft, hop in ((63, 16), (64, 33), (64, 0)):
        with pytest.raises(ConfigError, match="cannot be inverted"):
            StftSpec(n_fft, hop)


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 40))
def test_pad_reflect_keeps_the_signal_in_place(length: int, left: int, right: int) -> None:
    audio = torch.arange(1.0, length + 1)
    padded = pad_reflect(audio, left, right)
    assert padded.shape == (length + left + right,)
    torch.testing.assert_close(padded[left : left + length], audio)


def test_pad_reflect_mirrors_without_repeating_the_end() -> None:
    found = pad_reflect(torch.tensor([1.0, 2.0, 3.0]), 2, 1)
    assert found.tolist() == [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
