"""Linear prediction of what a room sends back."""

from __future__ import annotations

import pytest
import torch

from audiform.dsp.linear_prediction import LinearPrediction, late_reverberation
from audiform.dsp.stft import StftSpec

PREDICTION = LinearPrediction(StftSpec(n_fft=512, hop_length=128), delay=3, taps=20)


def words(seed: int, length: int = 24000) -> torch.Tensor:
    """Return bursts of noise with pauses between, as speech has."""
    made = torch.Generator().manual_seed(seed)
    sound = torch.randn(length, generator=made)
    bursts = (torch.rand(length // 800, generator=made) < 0.5).repeat_interleave(800)
    return sound * torch.nn.functional.pad(bursts, (0, length - len(bursts)))


def in_a_room(dry: torch.Tensor) -> torch.Tensor:
    """Return ``dry`` with a tail of noise that begins after 20 ms at 16 kHz."""
    made = torch.Generator().manual_seed(99)
    tail = 0.05 * torch.randn(1600, generator=made) * 0.997 ** torch.arange(1600)
    size = len(dry) + 4096
    late = torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(tail, size), size)
    return dry + torch.nn.functional.pad(late, (320, 0))[: len(dry)]


def test_less_of_the_room_is_left() -> None:
    dry = words(0)
    wet = in_a_room(dry)
    late = late_reverberation(wet[None], PREDICTION)[0]
    assert (wet - late - dry).square().sum() < 0.5 * (wet - dry).square().sum()


def test_what_has_no_past_is_left_alone() -> None:
    dry = words(1)
    late = late_reverberation(dry[None], PREDICTION)[0]
    assert late.square().sum() < 0.01 * dry.square().sum()


@pytest.mark.parametrize("gain", [1e-3, 30.0])
def test_it_hears_the_same_at_every_level(gain: float) -> None:
    wet = in_a_room(words(2))[None]
    late, scaled = (late_reverberation(sound, PREDICTION) for sound in (wet, gain * wet))
    torch.testing.assert_close(scaled / gain, late, atol=1e-3, rtol=0)


def test_rows_are_on_their_own_and_silence_stays_silence() -> None:
    rows = torch.stack([in_a_room(words(3)), torch.zeros(24000)])
    late = late_reverberation(rows, PREDICTION)
    torch.testing.assert_close(
        late[:1], late_reverberation(rows[:1], PREDICTION), atol=1e-5, rtol=0
    )
    assert late[1].abs().max() == 0


def test_bins_above_the_last_are_left_alone() -> None:
    few = LinearPrediction(StftSpec(n_fft=512, hop_length=128), delay=3, taps=20, num_bins=64)
    late = late_reverberation(in_a_room(words(4))[None], few)[0]
    spectrum = torch.fft.rfft(late).abs().square()
    above = round(40 / 128 * len(spectrum))
    assert spectrum[above:].sum() < 1e-4 * spectrum.sum()
