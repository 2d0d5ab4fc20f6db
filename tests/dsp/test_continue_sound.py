"""Going on with a sound, against sounds that are known to go on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiform.dsp.continue_sound import burg, continue_sound


def test_tones_ring_on_and_die_away_as_they_did() -> None:
    time = np.arange(6000)
    tones = sum(
        np.exp(-time / fall) * np.sin(2 * np.pi * time * hz / 8000 + hz)
        for hz, fall in ((220, 3000), (443, 2000), (1310, 900))
    )
    found = continue_sound(torch.from_numpy(tones[:4096].astype(np.float32))[None], 1000)[0]
    error = found.numpy() - tones[4096:5096]
    assert np.sum(error**2) < 0.01 * np.sum(tones[4096:5096] ** 2)  # 20 dB below


def test_noise_goes_on_as_loud_and_of_the_same_colour() -> None:
    rng = np.random.default_rng(1)
    noise = np.convolve(rng.standard_normal(5000), [1.0, 0.9, 0.5])[:4096]
    found = continue_sound(torch.from_numpy(noise)[None], 4096)[0].numpy()
    assert np.mean(found**2) == pytest.approx(np.mean(noise**2), rel=0.25)
    share = [
        np.sum(np.abs(np.fft.rfft(sound))[:512] ** 2) / np.sum(np.abs(np.fft.rfft(sound)) ** 2)
        for sound in (noise, found)
    ]
    assert share[1] == pytest.approx(share[0], abs=0.1)


def test_noise_that_falls_goes_on_falling() -> None:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal(8192) * np.exp(-np.arange(8192) / 2000)
    found = continue_sound(torch.from_numpy(noise[:4096])[None], 4096)[0].numpy()
    wanted = np.sqrt(np.mean(noise[6144:] ** 2))
    assert np.sqrt(np.mean(found[2048:] ** 2)) == pytest.approx(wanted, rel=0.5)


def test_the_model_of_a_known_recursion_is_that_recursion() -> None:
    rng = np.random.default_rng(3)
    sound = np.zeros(20000)
    for place in range(2, len(sound)):
        sound[place] = 1.6 * sound[place - 1] - 0.8 * sound[place - 2] + rng.standard_normal()
    weights, residual = burg(sound, 2)
    assert weights == pytest.approx([1.6, -0.8], abs=0.02)
    assert residual == pytest.approx(1.0, rel=0.05)


def test_silence_goes_on_as_silence_and_channels_are_apart() -> None:
    both = torch.stack([torch.zeros(2000), torch.sin(torch.arange(2000) / 5.0)])
    found = continue_sound(both, 500)
    assert found[0].abs().max() == 0
    alone = continue_sound(both[1:], 500)
    assert torch.equal(found[1:], alone)
    assert continue_sound(torch.ones(1, 3), 10).abs().max() == 0
