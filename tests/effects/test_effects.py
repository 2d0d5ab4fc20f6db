"""Each effect against its definition, written out another way, or against a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal

from audiform.effects import EFFECTS
from audiform.effects.equaliser import bands

RATE = 44100


def tone(hz: float, seconds: float, level: float = 1.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return level * torch.sin(2 * math.pi * hz * time)


def noise(samples: int = 4000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.3 * torch.randn(samples, generator=generator, dtype=torch.float64)


def magnitude_db(name: str, hz: list[float], **settings: float) -> np.ndarray:
    """Return the gain of a linear effect at some frequencies, from its impulse response."""
    impulse = torch.zeros(1 << 15, dtype=torch.float64)
    impulse[0] = 1.0
    response = EFFECTS[name].apply(impulse, RATE, **settings).numpy()
    _, gain = signal.freqz(response, worN=2 * np.pi * np.array(hz) / RATE)
    return 20 * np.log10(np.abs(gain))


# Compressor -----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [(-20.0, 3.0, 5.0, 20.0), (-30.0, 5.0, 40.0, 1.0)])
def test_compressor_is_its_recursion(settings) -> None:
    """The definition, sample by sample in numpy scalars."""
    threshold, ratio, attack_ms, release_ms = settings
    dry = noise(2000).numpy()
    gain = 0.0
    expected = [dry[0]]
    for sample in dry[1:]:
        level = max(20 * np.log10(abs(sample) + 1e-8), -96.0)
        wanted = threshold + (level - threshold) / ratio - level if level > threshold else 0.0
        time = attack_ms if wanted < gain else release_ms
        alpha = np.exp(-np.log(9) / (RATE * time * 1e-3))
        gain = alpha * gain + (1 - alpha) * wanted
        expected.append(sample * 10 ** (gain / 20))
    wet = EFFECTS["compressor"].apply(
        torch.from_numpy(dry), RATE,
        threshold_db=threshold, ratio=ratio, attack_ms=attack_ms, release_ms=release_ms,
    )  # fmt: skip
    assert np.abs(wet.numpy() - expected).max() < 1e-13  # rounding of float64


@pytest.mark.parametrize("name", ["compressor", "compressor-large"])
def test_compressor_s_static_curve_and_times(name) -> None:
    """A step to a constant: settles at the curve, 10 to 90 % of the way in the attack time."""
    settings = {"threshold_db": -24.0, "ratio": 4.0, "attack_ms": 20.0, "release_ms": 40.0}
    step = torch.cat([torch.full((10,), 1e-3), torch.full((RATE // 2,), 0.5)]).double()
    down = torch.cat([step, torch.full((RATE // 2,), 1e-3)])
    wet = EFFECTS[name].apply(down, RATE, **settings)
    gain_db = (20 * torch.log10(wet / down)).numpy()
    level_db = 20 * math.log10(0.5)
    settled = -24.0 + (level_db + 24.0) / 4.0 - level_db
    assert gain_db[len(step) - 1] == pytest.approx(settled, abs=1e-3)

    def rise_ms(part: np.ndarray) -> float:
        share = (part - part[0]) / (part[-1] - part[0])
        return 1000 * (np.argmax(share > 0.9) - np.argmax(share > 0.1)) / RATE

    assert rise_ms(gain_db[9 : len(step)]) == pytest.approx(20.0, abs=0.1)
    assert rise_ms(gain_db[len(step) - 1 :]) == pytest.approx(40.0, abs=0.1)


def test_a_ratio_of_one_does_nothing() -> None:
    dry = noise()
    assert torch.equal(EFFECTS["compressor"].apply(dry, RATE, ratio=1.0), dry)


# Filters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cutoff_hz", [10.0, 500.0, 2000.0])
def test_low_pass_is_scipy_s_butterworth(cutoff_hz) -> None:
    dry = noise(20000)
    sections = signal.butter(3, cutoff_hz, fs=RATE, output="sos")
    wet = EFFECTS["low-pass"].apply(dry, RATE, cutoff_hz=cutoff_hz)
    assert np.abs(wet.numpy() - signal.sosfilt(sections, dry.numpy())).max() < 1e-10


def test_equaliser_is_its_biquads_run_by_scipy() -> None:
    settings = {"low_gain_db": 6.0, "mid_gain_db": -9.0, "mid_hz": 700.0, "high_gain_db": -4.0}
    expected = noise(20000).numpy()
    for band in bands(sample_rate=RATE, **settings):
        expected = signal.lfilter(band.numerator.numpy(), band.denominator.numpy(), expected)
    wet = EFFECTS["equaliser"].apply(noise(20000), RATE, **settings)
    assert np.abs(wet.numpy() - expected).max() < 1e-11


def test_equaliser_gives_what_its_knobs_say() -> None:
    settings = {"low_gain_db": 6.0, "mid_gain_db": 0.0, "high_gain_db": -4.0}
    low, high = magnitude_db("equaliser", [10.0, 20000.0], **settings)
    assert low == pytest.approx(6.0, abs=0.1)
    assert high == pytest.approx(-4.0, abs=0.1)
    flat = {"low_gain_db": 0.0, "high_gain_db": 0.0}
    (middle,) = magnitude_db("equaliser", [900.0], mid_hz=900.0, mid_gain_db=-12.0, **flat)
    assert middle == pytest.approx(-12.0, abs=1e-6)


# Others ---------------------------------------------------------------------------------------


def test_distortion_is_its_curve() -> None:
    dry = np.linspace(-1, 1, 101)
    settings = {"drive_db": 12.0, "asymmetry": 0.4, "level_db": -3.0}
    expected = 10 ** (-3 / 20) * (np.tanh(10 ** (12 / 20) * dry + 0.4) - np.tanh(0.4))
    wet = EFFECTS["distortion"].apply(torch.from_numpy(dry), RATE, **settings)
    assert np.abs(wet.numpy() - expected).max() < 1e-14


def test_echoes_come_when_they_should() -> None:
    impulse = torch.zeros(2000, dtype=torch.float64)
    impulse[0] = 1.0
    # 220.5 samples: the first echo falls between two, the second on one
    wet = EFFECTS["echo"].apply(impulse, RATE, delay_ms=5.0, ratio=0.5)
    found = {index: wet[index].item() for index in wet.nonzero().flatten().tolist()}
    assert found == pytest.approx({0: 1.0, 220: 0.25, 221: 0.25, 441: 0.25})


def test_tremolo_swings_as_often_and_as_deep_as_asked() -> None:
    wet = EFFECTS["tremolo"].apply(torch.ones(RATE), RATE, rate_hz=4.0, depth=0.6)
    assert wet[0] == 1.0
    for quarter in range(4):
        lowest = RATE // 8 + quarter * RATE // 4
        assert wet[lowest] == pytest.approx(0.4, abs=1e-4)
    assert wet.min() == pytest.approx(0.4, abs=1e-4)


@pytest.mark.parametrize(("decay", "damping"), [(0.5, 0.0), (1.5, 0.6)])
def test_reverb_decays_in_the_time_that_was_asked_for(decay, damping) -> None:
    """Schroeder's backward integration of the impulse response, low-passed at 500 Hz, and its top.

    The low part decays in the time of the knob, the highest octave in between that and the time
    at half the sample rate.
    """
    impulse = torch.zeros(round(1.5 * decay * RATE), dtype=torch.float64)
    impulse[0] = 1.0
    settings = {"decay_seconds": decay, "damping": damping, "mix": 1.0, "pre_delay_ms": 0.0}
    response = EFFECTS["reverb"].apply(impulse, RATE, **settings).numpy()

    def time_for_60_db(sections: np.ndarray) -> float:
        energy = signal.sosfilt(sections, response) ** 2
        left_db = 10 * np.log10(np.cumsum(energy[::-1])[::-1] / energy.sum())
        early, late = np.argmax(left_db < -10), np.argmax(left_db < -40)
        return 2 * (late - early) / RATE

    low = time_for_60_db(signal.butter(4, 500, fs=RATE, output="sos"))
    high = time_for_60_db(signal.butter(6, 15000, "high", fs=RATE, output="sos"))
    assert low == pytest.approx(decay, rel=0.1)
    assert (1 - damping) * decay * 0.9 < high < (decay * 1.1 if damping == 0 else 0.8 * decay)


def test_reverb_s_pre_delay_and_mix() -> None:
    impulse = torch.zeros(8000, dtype=torch.float64)
    impulse[0] = 1.0
    reverb = EFFECTS["reverb"]
    early, late = (
        reverb.apply(impulse, RATE, pre_delay_ms=delay, mix=1.0) for delay in (0.0, 100.0)
    )
    assert torch.allclose(early[:-4410], late[4410:])
    assert torch.equal(reverb.apply(impulse, RATE, mix=0.0), impulse)
