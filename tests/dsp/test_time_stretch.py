"""Stretching and transposing against what is known of the result: tones, onsets, formants."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiform.dsp.change_pitch import change_pitch, pitch_ratio
from audiform.dsp.time_stretch import time_stretch
from audiform.errors import AudioError

RATE = 44100
RATES = pytest.mark.parametrize("rate", [0.85, 0.95, 1.05, 1.15])


def tones(frequencies_hz: list[float], seconds: float = 3.0) -> torch.Tensor:
    time = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    waves = [torch.sin(2 * math.pi * hz * time + hz) for hz in frequencies_hz]
    return (sum(waves) / len(waves))[None].float()


def residual_db(audio: torch.Tensor, frequencies_hz: list[float]) -> float:
    """Return what is left of the middle after the best steady tones are taken away."""
    middle = audio[0, RATE // 2 : -RATE // 2].double().numpy()
    time = np.arange(len(middle)) / RATE
    waves = [f(2 * np.pi * hz * time) for hz in frequencies_hz for f in (np.sin, np.cos)]
    basis = np.stack(waves, axis=1)
    left = middle - basis @ np.linalg.lstsq(basis, middle, rcond=None)[0]
    return 10 * np.log10((left**2).mean() / (middle**2).mean())


def drums(seconds: float = 4.0) -> tuple[torch.Tensor, np.ndarray]:
    """Return kicks, snares and hats at uneven times, and the times in seconds."""
    rng = np.random.default_rng(0)
    audio, onsets, at, number = np.zeros(int(seconds * RATE)), [], 0.3, 0
    while at < seconds - 0.3:
        time = np.arange(int(0.15 * RATE)) / RATE
        white = rng.standard_normal(len(time) + 1)
        kick = np.sin(2 * np.pi * (50 * time + 7 * (1 - np.exp(-30 * time)))) * np.exp(-25 * time)
        snare = 0.5 * white[1:] * np.exp(-40 * time)
        hat = 0.15 * np.diff(white) * np.exp(-120 * time)
        first = int(at * RATE)
        audio[first : first + len(time)] += (kick, hat, snare, hat)[number % 4]
        onsets.append(first / RATE)
        at += 0.14 + 0.02 * rng.random()
        number += 1
    return torch.tensor(audio, dtype=torch.float32)[None], np.array(onsets)


def attack_times(audio: torch.Tensor, near_seconds: np.ndarray) -> np.ndarray:
    """Return when the level first reaches a quarter of its maximum, around each time given."""
    power = np.convolve(audio[0].numpy() ** 2, np.ones(44) / 44, "same")
    reach = int(0.03 * RATE)
    times = []
    for second in near_seconds:
        first = int(second * RATE) - reach
        part = power[first : first + 2 * reach]
        times.append((first + np.argmax(part > 0.25 * part.max())) / RATE)
    return np.array(times)


@RATES
def test_a_chord_stays_the_chord(rate) -> None:
    chord = [220.0, 277.18, 329.63, 440.0, 554.37, 659.25]
    stretched = time_stretch(tones(chord), rate=rate, sample_rate=RATE)
    assert stretched.shape[-1] == round(3 * RATE / rate)
    assert residual_db(stretched, chord) < -40  # librosa's phase vocoder leaves about -25 dB


@RATES
def test_the_lowest_string_of_a_bass_stays_in_tune(rate) -> None:
    partials = [41.2, 82.4, 123.6, 164.8]
    assert residual_db(time_stretch(tones(partials), rate=rate, sample_rate=RATE), partials) < -18


@RATES
def test_attacks_come_at_their_time_and_stay_sharp(rate) -> None:
    audio, onsets = drums()
    stretched = time_stretch(audio, rate=rate, sample_rate=RATE)
    late = attack_times(stretched, onsets / rate) - attack_times(audio, onsets) / rate
    assert np.abs(late).max() < 0.003
    power = stretched[0].numpy() ** 2
    smeared = []
    for at in (onsets / rate * RATE).astype(int):
        before, after = power[at - 1100 : at - 200].mean(), power[at : at + 1300].mean()
        smeared.append(10 * np.log10(before / after))
    assert np.median(smeared) < -25  # librosa's phase vocoder: about -6 dB


def test_the_old_tempo_changes_nothing() -> None:
    audio = torch.randn(2, 3, 5000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(time_stretch(audio, rate=1.0, sample_rate=RATE), audio)


def test_both_channels_are_turned_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(1, RATE, generator=generator)
    stretched = time_stretch(torch.cat([left, -0.5 * left]), rate=1.1, sample_rate=RATE)
    torch.testing.assert_close(stretched[1], -0.5 * stretched[0], atol=1e-5, rtol=0)


def test_a_batch_is_its_items() -> None:
    audio = torch.randn(2, 2, 1, 9000, generator=torch.Generator().manual_seed(0))
    batch = time_stretch(audio, rate=0.9, sample_rate=RATE)
    assert batch.shape == (2, 2, 1, 10_000)
    assert torch.equal(batch[1, 0], time_stretch(audio[1, 0], rate=0.9, sample_rate=RATE))


@pytest.mark.parametrize("samples", [0, 1, 700])
def test_short_signals_are_taken(samples) -> None:
    stretched = time_stretch(torch.ones(2, samples), rate=0.9, sample_rate=RATE)
    assert stretched.shape == (2, round(samples / 0.9))
    assert torch.isfinite(stretched).all()


def test_a_tempo_out_of_range_is_refused() -> None:
    with pytest.raises(AudioError, match=r"0\.25"):
        time_stretch(torch.zeros(1, 10), rate=0.0, sample_rate=RATE)


@pytest.mark.parametrize("semitones", [-3.0, -1.0, 2.0, 3.0])
def test_a_tone_is_moved_by_its_interval(semitones) -> None:
    ratio = float(pitch_ratio(semitones))
    assert abs(1200 * math.log2(ratio) - 100 * semitones) < 0.2
    moved = change_pitch(tones([441.3]), semitones=semitones, rate=1.05, sample_rate=RATE)
    assert abs(moved.shape[-1] - 3 * RATE / 1.05) <= 2
    assert residual_db(moved, [441.3 * ratio]) < -60


@pytest.mark.parametrize("semitones", [2.0, 5.0])
def test_formants_stay_only_where_they_are_kept(semitones) -> None:
    """A sawtooth at 130 Hz through resonances at 600 and 1800 Hz."""
    pitch = 130.0
    voice = torch.zeros(1, 2 * RATE)
    time = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    for number in range(1, 40):
        hz = number * pitch
        level = sum(math.exp(-(((hz - centre) / 250.0) ** 2)) for centre in (600.0, 1800.0))
        wave = torch.sin(2 * math.pi * hz * time + number**2)
        voice += ((level + 0.02) * wave)[None].float()

    def level_db(audio: torch.Tensor, low_hz: float, high_hz: float) -> float:
        power = torch.fft.rfft(audio[0, 20_000:64_100]).abs().square()  # bins of 1 Hz
        return 10 * power[int(low_hz) : int(high_hz)].sum().log10().item()

    def second_formant_db(audio: torch.Tensor) -> float:
        """Level where the formant was, against where it goes with the pitch."""
        return level_db(audio, 1550, 2050) - level_db(audio, 2150, 2650)

    kept, moved = (
        change_pitch(voice, semitones=semitones, rate=1.0, sample_rate=RATE, keep_formants=keep)
        for keep in (True, False)
    )
    assert second_formant_db(moved) < second_formant_db(voice) - 12
    assert second_formant_db(kept) > second_formant_db(moved) + 8
    assert second_formant_db(kept) > 0
