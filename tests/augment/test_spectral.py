from __future__ import annotations

import torch

from audiform.augment.spectral import (
    Augmentation,
    AugmentConfig,
    augment_spectra,
    augment_waveforms,
    draw_augmentation,
)


def draw(seed: int, config: AugmentConfig | None = None, **options) -> Augmentation:
    generator = torch.Generator().manual_seed(seed)
    return draw_augmentation(
        generator, config or AugmentConfig(), batch_size=6, num_sources=4, **options
    )


def no_change() -> Augmentation:
    shape = (6, 4)
    return Augmentation(
        swap=torch.zeros(shape, dtype=torch.bool),
        sign=torch.ones(shape),
        gain_db=torch.zeros(*shape, 7),
        narrow=torch.zeros(shape, dtype=torch.bool),
        cutoff_hz=torch.full((6,), float("inf")),
    )


def test_equal_generators_draw_equal_parameters():
    first, second, other = draw(3), draw(3), draw(4)
    assert torch.equal(first.gain_db, second.gain_db)
    assert torch.equal(first.swap, second.swap)
    assert not torch.equal(first.gain_db, other.gain_db)


def test_global_randomness_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draw(1)
    assert torch.equal(before, torch.get_rng_state())


def test_drawing_nothing_changes_nothing():
    stems = torch.randn(6, 4, 2, 100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augment_waveforms(stems, no_change()), stems)
    spectra = torch.randn(6, 4, 2, 9, 3, dtype=torch.complex64)
    torch.testing.assert_close(augment_spectra(spectra, no_change(), sample_rate=44100), spectra)


def test_swap_narrow_and_polarity():
    stems = torch.randn(6, 4, 2, 50, generator=torch.Generator().manual_seed(0))
    drawn = no_change()
    drawn.swap[0, 1] = True
    drawn.narrow[1, 2] = True
    drawn.sign[2, 3] = -1.0
    changed = augment_waveforms(stems, drawn)
    torch.testing.assert_close(changed[0, 1], stems[0, 1].flip(0))
    torch.testing.assert_close(changed[1, 2, 0], stems[1, 2].mean(0))
    torch.testing.assert_close(changed[1, 2, 1], stems[1, 2].mean(0))
    torch.testing.assert_close(changed[2, 3], -stems[2, 3])
    torch.testing.assert_close(changed[3], stems[3])


def test_a_mixture_has_nothing_above_the_band_of_one_of_its_stems():
    band_hz = torch.tensor([6500.0, *[torch.inf] * 5])
    drawn = draw(0, AugmentConfig(low_pass_share=0.0, equalise_share=0.0), band_hz=band_hz)
    spectra = torch.ones(6, 4, 2, 101, 2, dtype=torch.complex64)
    cut = augment_spectra(spectra, drawn, sample_rate=44100).abs()
    # bins are 220.5 Hz apart, the band ends at 6500 Hz
    assert not cut[0, :, :, 30:].any()
    assert cut[0, :, :, :29].all()
    assert cut[1:].all()


def test_equaliser_stays_within_its_range():
    drawn = draw(5, AugmentConfig(equalise_share=1.0, equalise_db=6.0, low_pass_share=0.0))
    spectra = torch.ones(6, 4, 2, 257, 1, dtype=torch.complex64)
    gains_db = 20 * augment_spectra(spectra, drawn, sample_rate=44100).abs().log10()
    assert gains_db.abs().max() <= 6.001
    assert gains_db.std() > 0.5
