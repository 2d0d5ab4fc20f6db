"""StreamResampler: pieces equal one call of soxr, and the length is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from audiform.errors import AudioError
from audiform.io import StreamResampler, resampled_length
from tests.io.audio_files import noisy

RATES_HZ = [8000, 11025, 22050, 32000, 44100, 48000, 88200, 96000, 192000]


def resample(samples, *, from_rate_hz, to_rate_hz, block, num_samples=None):
    resampler = StreamResampler(
        from_rate_hz=from_rate_hz, to_rate_hz=to_rate_hz, num_channels=len(samples)
    )
    starts = range(0, samples.shape[1], block)
    pieces = [resampler.push(samples[:, start : start + block]) for start in starts]
    return np.concatenate([*pieces, resampler.finish(num_samples)], axis=1)


@pytest.mark.parametrize("block", [1, 100, 4099, 50_000])
@pytest.mark.parametrize(
    ("from_rate_hz", "to_rate_hz"), [(44100, 48000), (48000, 44100), (8000, 192000), (192000, 8000)]
)
def test_pieces_equal_one_call(from_rate_hz, to_rate_hz, block):
    samples = noisy(3000 if block == 1 else 20_003)
    once = soxr.resample(samples.T, from_rate_hz, to_rate_hz, quality="VHQ").T
    pieces = resample(samples, from_rate_hz=from_rate_hz, to_rate_hz=to_rate_hz, block=block)
    assert pieces.shape == once.shape
    assert pieces.dtype == np.float32
    assert np.abs(pieces - once).max() <= 1e-6  # one float32 step of a sample near 1


@settings(max_examples=60, deadline=None)
@given(
    num_samples=st.integers(0, 3000),
    from_rate_hz=st.sampled_from(RATES_HZ),
    to_rate_hz=st.sampled_from(RATES_HZ),
    block=st.integers(1, 1500),
)
def test_length_is_as_announced(num_samples, from_rate_hz, to_rate_hz, block):
    rates = {"from_rate_hz": from_rate_hz, "to_rate_hz": to_rate_hz}
    exact = num_samples * to_rate_hz / from_rate_hz
    announced = resampled_length(num_samples, **rates)
    assert abs(announced - exact) <= 0.5 or (announced == 1 and num_samples > 0)
    assert resample(noisy(num_samples, 1), **rates, block=block).shape == (1, announced)


@settings(max_examples=40, deadline=None)
@given(num_samples=st.integers(1, 5000), rate_hz=st.sampled_from(RATES_HZ))
def test_there_and_back_keeps_the_length(num_samples, rate_hz):
    samples = noisy(num_samples, 1)
    there = resample(samples, from_rate_hz=rate_hz, to_rate_hz=44100, block=999)
    back = resample(
        there, from_rate_hz=44100, to_rate_hz=rate_hz, block=999, num_samples=num_samples
    )
    assert back.shape == samples.shape


def test_a_low_tone_survives_there_and_back():
    samples = np.sin(np.arange(44100) * 0.05).astype(np.float32)[None]
    there = resample(samples, from_rate_hz=44100, to_rate_hz=96000, block=5000)
    back = resample(there, from_rate_hz=96000, to_rate_hz=44100, block=5000, num_samples=44100)
    assert np.abs(back - samples)[:, 1000:-1000].max() < 1e-5  # VHQ: about -140 dB


def test_equal_rates_pass_through():
    samples = noisy(1001)
    assert np.array_equal(resample(samples, from_rate_hz=8000, to_rate_hz=8000, block=100), samples)


def test_the_total_can_be_set_but_not_below_what_is_out():
    samples = noisy(50_000, 1)
    rates = {"from_rate_hz": 44100, "to_rate_hz": 22050}
    for total in (24_990, 25_000, 25_010):
        assert resample(samples, **rates, block=10_000, num_samples=total).shape[1] == total
    with pytest.raises(AudioError, match=r"end after 10 samples.*are out already"):
        resample(samples, **rates, block=10_000, num_samples=10)


def test_rates_must_be_positive():
    with pytest.raises(AudioError, match="got 0 Hz -> 44100 Hz"):
        StreamResampler(from_rate_hz=0, to_rate_hz=44100, num_channels=1)
