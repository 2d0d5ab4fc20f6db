"""A drifting machine made by evaluating tones and pulses at the times that it would play."""

from __future__ import annotations

import pytest
import torch

from audiform.data.delay_track import DelayTrack, delay_track, undo_delay
from audiform.errors import DataError

RATE = 22050
COUNT = 3 * RATE
PERIOD = 441


def drift(samples: torch.Tensor) -> torch.Tensor:
    """Delay of what entered at these samples."""
    seconds = samples / RATE
    return 3500.3 + 6 * torch.sin(2 * torch.pi * 0.7 * seconds) + 1.5 * torch.sin(40 * seconds)


def entered(samples: torch.Tensor) -> torch.Tensor:
    """When that entered which comes out at these samples, by fixed-point iteration."""
    when = samples - 3500.0
    for _ in range(30):
        when = samples - drift(when)
    return when


def pulse_train(samples: torch.Tensor) -> torch.Tensor:
    """Band-limited pulses, one per period, from the first period on."""
    nearest = (samples / PERIOD).round().clamp(1, COUNT // PERIOD - 1) * PERIOD
    distance = samples - nearest
    return torch.sinc(distance / 2) * torch.exp(-((distance / 12) ** 2))


def tones(samples: torch.Tensor) -> torch.Tensor:
    return sum(torch.sin(2 * torch.pi * hz * samples / RATE + hz) for hz in (220.0, 1330.0, 4100.0))


@pytest.fixture
def times() -> torch.Tensor:
    return torch.arange(COUNT, dtype=torch.float64)


@pytest.fixture
def track(times) -> DelayTrack:
    return delay_track(
        dry_pulses=pulse_train(times),
        wet_pulses=-0.3 * pulse_train(entered(times)),
        sample_rate=RATE,
        lag_samples=3400,
    )


def test_the_delay_at_every_pulse(track):
    assert len(track.seconds) > 115
    truth = drift(track.seconds * RATE)
    assert track.delay_samples == pytest.approx(truth, abs=0.05)
    assert track.drift_samples == pytest.approx(float(truth.max() - truth.min()), abs=0.1)


def test_a_noisy_pulse_is_left_out(times):
    wet = pulse_train(entered(times))
    wet[10 * PERIOD + 3400 : 10 * PERIOD + 3600] = 0.0
    track = delay_track(
        dry_pulses=pulse_train(times), wet_pulses=wet, sample_rate=RATE, lag_samples=3500
    )
    assert 10 * PERIOD not in (track.seconds * RATE).round().tolist()
    assert track.delay_samples == pytest.approx(drift(track.seconds * RATE), abs=0.05)


def test_undone_the_sound_is_where_it_was(track, times):
    wet = torch.stack([tones(entered(times)), 0.5 * tones(entered(times))]).float()
    undone = undo_delay(wet, track)
    length = undone.shape[-1]
    assert length == pytest.approx(COUNT - 3500, abs=9)
    inside = slice(PERIOD, length - PERIOD)
    truth = tones(times)[:length].float()
    for channel, gain in ((0, 1.0), (1, 0.5)):
        error = undone[channel, inside] / gain - truth[inside]
        assert float(error.square().mean() / truth.square().mean()) < 5e-4
    # a constant delay leaves much more
    constant = wet[0, 3500:][:length][inside] - truth[inside]
    assert float(constant.square().mean() / truth.square().mean()) > 0.1


def test_a_whole_delay_is_undone_exactly():
    wet = torch.randn(1, 4000, generator=torch.Generator().manual_seed(1))
    still = DelayTrack(
        torch.tensor([0.0, 0.1]).double(), torch.tensor([100.0, 100.0]).double(), RATE
    )
    assert torch.allclose(undo_delay(wet, still)[0], wet[0, 100:], atol=1e-6)


def test_refusals(times, track):
    with pytest.raises(DataError, match="has 0 pulses"):
        delay_track(dry_pulses=0 * times, wet_pulses=times, sample_rate=RATE, lag_samples=0)
    with pytest.raises(DataError, match="fewer than 2 pulses lie within"):
        delay_track(
            dry_pulses=pulse_train(times),
            wet_pulses=pulse_train(times)[:2000],
            sample_rate=RATE,
            lag_samples=5000,
        )
    with pytest.raises(DataError, match="the recording has 100"):
        undo_delay(torch.zeros(100), track)
