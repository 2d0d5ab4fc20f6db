"""Reading the beats of a click track."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audiform.errors import AudioError
from audiform.inference.click_track import read_clicks

RATE = 22050


def write(path, times, levels):
    audio = np.zeros((round((max(times, default=0) + 1) * RATE), 2), np.float32)
    for time, level in zip(times, levels, strict=True):
        place = round(time * RATE)
        ring = np.arange(600)
        audio[place : place + 600, 1] += level * np.exp(-ring / 100) * np.cos(ring / 3)
    soundfile.write(path, audio, RATE)
    return path


def test_clicks_are_found_to_the_millisecond_soft_ones_too(tmp_path) -> None:
    times = [0.25, 0.75, 1.2604, 1.8, 2.31]
    path = write(tmp_path / "click.wav", times, [0.9, 0.3, 0.3, 0.9, 0.2])
    assert read_clicks(path) == pytest.approx(times, abs=0.0011)


@pytest.mark.parametrize("times", [[], [0.5]])
def test_fewer_than_two_clicks_are_no_grid(tmp_path, times) -> None:
    path = write(tmp_path / "click.wav", times, [0.9] * len(times))
    with pytest.raises(AudioError, match=r"click\.wav has \d clicks"):
        read_clicks(path)
