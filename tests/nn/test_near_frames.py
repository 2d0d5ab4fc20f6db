"""What a frame is told of the frames near it."""

from __future__ import annotations

import torch

from audiform.nn.near_frames import contrasts

REACH, FLOOR = 3, 1e-9


def noise_frames(count: int) -> torch.Tensor:
    """Return the power (1, frame, bin) of steady noise."""
    generator = torch.Generator().manual_seed(0)
    return 0.5 + torch.rand(1, count, 8, generator=generator)


def test_silence_around_a_recording_is_no_past_of_it() -> None:
    noise = noise_frames(40)
    silence = torch.zeros(1, 20, 8)
    found = contrasts(torch.cat([silence, noise, silence], dim=1), reach=REACH, floor=FLOOR)
    # steady noise stands out of nothing, at its beginning and end as little as in its middle
    assert found[:, 20:60].abs().max() < 2.0


def test_a_click_amid_silence_stands_out() -> None:
    power = torch.zeros(1, 41, 8)
    power[:, 20] = 1.0
    assert contrasts(power, reach=REACH, floor=FLOOR)[:, 20].min() > 15.0


def test_sound_stands_out_of_its_softest_moment() -> None:
    power = noise_frames(60)
    power[:, 30] *= 1000.0
    to_softest = contrasts(power, reach=REACH, floor=FLOOR)[0, :, 0]
    assert to_softest[30].min() > 4.0
    assert to_softest[20].abs().max() < 2.0
