from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from audiform.dsp.vocal_free import VocalFreeConfig, open_vocal_free, vocal_free_stretches

CONFIG = VocalFreeConfig(threshold=0.05, min_frames=8, max_gap_frames=3, fade_frames=4)


def free(*stretches: tuple[int, int], length: int = 60) -> torch.Tensor:
    flags = torch.zeros(length, dtype=torch.bool)
    for start, stop in stretches:
        flags[start:stop] = True
    return flags


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([(10, 17)], []),  # too short
        ([(10, 18)], [range(10, 18)]),
        ([(0, 60)], [range(60)]),
        ([(5, 20), (22, 40)], [range(5, 40)]),  # a gap of two
        ([(5, 20), (23, 40)], [range(5, 20), range(23, 40)]),  # of three: no longer less
        ([(5, 20), (21, 24), (25, 40)], [range(5, 20), range(25, 40)]),  # the middle is too short
    ],
)
def test_stretches(given, expected) -> None:
    assert vocal_free_stretches(free(*given), CONFIG) == expected


def test_the_lowest_bin_of_any_channel_decides() -> None:
    mask = torch.full((2, 5, 60), 0.5)
    mask[1, 3, 20:30] = 0.04
    opened = open_vocal_free(mask, CONFIG)
    assert torch.equal(opened[..., 20:30], mask[..., 20:30])
    assert torch.equal(opened[..., :16], torch.ones(2, 5, 16))
    assert torch.equal(opened[..., 34:], torch.ones(2, 5, 26))


def test_fades_are_lines_inside_the_stretch() -> None:
    mask = torch.zeros(1, 1, 60)
    mask[..., 10:40] = 0.1
    opened = open_vocal_free(mask, CONFIG)[0, 0]
    torch.testing.assert_close((opened[10:15] - 0.1) / 0.9, torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]))
    torch.testing.assert_close(opened[10:40], opened[10:40].flip(0))
    assert not opened[:10].any()


def test_leading_axes_are_apart_and_the_mask_is_left_alone() -> None:
    masks = torch.rand(2, 3, 2, 5, 60) * 0.2
    masks[0, 1] = 0.5
    before = masks.clone()
    opened = open_vocal_free(masks, CONFIG)
    assert torch.equal(masks, before)
    assert torch.equal(opened[0, 1], torch.ones(2, 5, 60))
    torch.testing.assert_close(opened[1, 2], open_vocal_free(masks[1, 2], CONFIG))


def test_fades_must_fit() -> None:
    with pytest.raises(ValidationError, match="no room"):
        VocalFreeConfig(min_frames=10, fade_frames=6)


def test_with_enough_context_a_segment_has_the_stretches_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    found = 0
    for _ in range(200):
        # long runs with short and long gaps, so that all rules come into play
        lengths = torch.randint(1, 16, (60,), generator=generator)
        lengths[1::2] = lengths[1::2] % 6 + 1
        mask = torch.cat([torch.full((int(n),), 0.5 * (k % 2 == 0)) for k, n in enumerate(lengths)])
        whole = open_vocal_free(mask[None, None], CONFIG)[0, 0]
        start = int(torch.randint(CONFIG.context_frames, len(mask) - 60, (1,), generator=generator))
        first, stop = start - CONFIG.context_frames, start + 20 + CONFIG.context_frames
        seen = open_vocal_free(mask[None, None, first:stop], CONFIG)[0, 0]
        centre = seen[CONFIG.context_frames : -CONFIG.context_frames]
        torch.testing.assert_close(centre, whole[start : start + 20])
        found += int((centre != mask[start : start + 20]).any())
    assert found > 100
