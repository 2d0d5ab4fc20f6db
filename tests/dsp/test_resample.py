import math

import pytest
import torch

from audiform.dsp.resample import resample
from audiform.errors import AudioError

#: Our filters are computed in double precision, julius' in single: with many phases, the
#: positions of the last ones are that far off there.
TOLERANCES = {(1, 2): 1e-6, (2, 1): 1e-6, (4, 5): 1e-6, (3, 2): 1e-6, (44100, 48000): 3e-5}


@pytest.mark.parametrize("rates", TOLERANCES)
@pytest.mark.parametrize("length", [1, 50, 997])
def test_it_equals_julius(rates, length) -> None:
    julius = pytest.importorskip("julius", reason="Demucs v2 resamples with it")
    audio = torch.rand(2, 3, length, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = julius.resample_frac(audio, *rates)
    found = resample(audio, from_rate_hz=rates[0], to_rate_hz=rates[1])
    assert found.shape == expected.shape
    if found.numel():
        assert (found - expected).abs().max() <= TOLERANCES[rates]


@pytest.mark.parametrize("rates", [(1, 2), (2, 1), (3, 4)])
def test_a_tone_stays_the_tone(rates) -> None:
    """Against the closed form: 0.05 cycles per sample, away from the ends."""
    time = torch.arange(2000, dtype=torch.float64)
    found = resample(torch.sin(0.1 * math.pi * time), from_rate_hz=rates[0], to_rate_hz=rates[1])
    new_time = torch.arange(len(found), dtype=torch.float64) * rates[0] / rates[1]
    middle = slice(len(found) // 4, -len(found) // 4)
    assert (found - torch.sin(0.1 * math.pi * new_time))[middle].abs().max() < 1e-4


def test_what_the_new_rate_cannot_hold_is_cut() -> None:
    time = torch.arange(2000, dtype=torch.float64)
    found = resample(torch.sin(0.7 * math.pi * time), from_rate_hz=2, to_rate_hz=1)
    assert found[100:-100].abs().max() < 1e-3


def test_a_constant_is_kept_to_its_ends() -> None:
    found = resample(torch.full((1, 30), 0.3), from_rate_hz=2, to_rate_hz=3)
    torch.testing.assert_close(found, torch.full((1, 45), 0.3), atol=1e-6, rtol=0)


def test_it_is_differentiable() -> None:
    audio = torch.randn(1, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resample(x, from_rate_hz=2, to_rate_hz=1), audio)


def test_equal_rates_change_nothing() -> None:
    audio = torch.randn(2, 9)
    assert torch.equal(resample(audio, from_rate_hz=8000, to_rate_hz=8000), audio)


def test_rates_that_are_none() -> None:
    with pytest.raises(AudioError, match="must be positive, got 0 Hz"):
        resample(torch.zeros(1, 4), from_rate_hz=0, to_rate_hz=2)
