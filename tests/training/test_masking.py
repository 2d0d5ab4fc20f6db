from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from audiform.errors import DataError
from audiform.training.masking import (
    MaskingConfig,
    Treatment,
    draw_masking,
    frame_energy,
    mask_groups,
    normalise_items,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spectra(batch: int = 2, frames: int = 64) -> torch.Tensor:
    return normalise_items(torch.rand(batch, 2, 6, frames, generator=generator(9)).pow(3))


def test_shares_over_ten_thousand_draws() -> None:
    """64 groups an item, as in 1024 frames: 640,000 groups."""
    config = MaskingConfig(group_frames=1)
    draw = draw_masking(config, torch.zeros(10_000, 1, 1, 64), generator=generator())
    chosen = draw.treatments != Treatment.UNTOUCHED
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.01)
    kinds = draw.treatments[chosen]
    for treatment, share in ((Treatment.WHITE, 0.8), (Treatment.NOISE, 0.1), (Treatment.KEPT, 0.1)):
        assert (kinds == treatment).float().mean().item() == pytest.approx(share, abs=0.01)


def test_every_item_has_a_masked_group() -> None:
    config = MaskingConfig(rate=0.01)
    draw = draw_masking(config, torch.zeros(500, 1, 1, 40), generator=generator())
    assert draw.treatments.shape == (500, 3)  # the third group is half a one
    assert draw.chosen_frames(40).any(dim=1).all()
    assert draw.treatments.ne(Treatment.UNTOUCHED).any(dim=0).all()  # and any group may be it


def test_what_is_masked_is_nowhere_below_the_target() -> None:
    config = MaskingConfig(rate=0.5, white_share=0.4, noise_share=0.4)
    target = spectra(batch=8, frames=70)
    for seed in range(20):
        draw = draw_masking(config, target, generator=generator(seed))
        masked = mask_groups(target, draw)
        assert (masked >= target).all()
        assert masked.max() <= 1
        changed = (masked != target).any(dim=(1, 2))
        assert not changed[~draw.chosen_frames(70)].any()


def test_each_treatment_does_what_it_says() -> None:
    target = spectra(batch=1, frames=40)
    draw = draw_masking(MaskingConfig(group_frames=8), target, generator=generator())
    kinds = [Treatment.WHITE, Treatment.NOISE, Treatment.KEPT, Treatment.UNTOUCHED, Treatment.NOISE]
    noise = torch.rand(2, 2, 6, 8, generator=generator(3))
    masked = mask_groups(target, type(draw)(torch.tensor([kinds]), noise))
    assert (masked[..., :8] == 1).all()
    assert torch.equal(masked[0, ..., 8:16], torch.maximum(target[0, ..., 8:16], noise[0]))
    assert torch.equal(masked[..., 16:32], target[..., 16:32])
    assert torch.equal(masked[0, ..., 32:], torch.maximum(target[0, ..., 32:], noise[1]))
    assert masked[0, ..., 8:16].unique().numel() > 40  # elementwise, not one value for a block


def test_the_same_generator_draws_the_same() -> None:
    target = spectra()
    first, second, other = (
        mask_groups(target, draw_masking(MaskingConfig(), target, generator=generator(seed)))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_unnormalised_spectra_are_refused() -> None:
    loud = 3 * spectra()
    with pytest.raises(DataError, match="normalise_items"):
        mask_groups(loud, draw_masking(MaskingConfig(), loud, generator=generator()))


def test_normalised_items_have_a_loudest_frame_of_one() -> None:
    loud = torch.rand(3, 2, 6, 20) * torch.tensor([0.1, 5.0, 0.0])[:, None, None, None]
    energy = frame_energy(normalise_items(loud)).amax(dim=1)
    torch.testing.assert_close(energy, torch.tensor([1.0, 1.0, 0.0]))


def test_shares_of_more_than_all_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than all"):
        MaskingConfig(white_share=0.9, noise_share=0.2)
