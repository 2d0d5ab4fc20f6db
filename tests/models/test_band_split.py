from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from audiform.models.band_split import BandSplit, BandSplitConfig, bins_of, features
from audiform.protocols import SeparationModel

TINY = BandSplitConfig(
    n_fft=512,
    hop_length=128,
    bands=((8, 8), (32, 4)),
    hidden_channels=16,
    num_blocks=2,
    segment_seconds=1.0,
    context_seconds=0.25,
    fade_seconds=0.05,
)


@pytest.fixture(params=["attention", "lstm"])
def model(request) -> BandSplit:
    torch.manual_seed(0)
    config = TINY.model_copy(update={"time_mixer": request.param})
    return BandSplit(config).eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_is_a_separation_model(model):
    assert isinstance(model, SeparationModel)
    assert model.spec.sources == ("drums", "bass", "other", "vocals")
    assert model.input_samples(1000) == 1000 + 2 * 11025


@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 511, 5000, 7777])
def test_keeps_every_length(model, length):
    with torch.inference_mode():
        assert model(noise(1, 2, length)).shape == (1, 4, 2, length)


def test_stems_sum_to_the_mixture(model):
    mixture = noise(2, 2, 6000)
    with torch.inference_mode():
        stems = model(mixture)
    # masks sum to one up to float32 rounding of a softmax and two transforms
    torch.testing.assert_close(stems.sum(dim=1), mixture, atol=1e-5, rtol=0)


def test_a_batch_of_two_equals_two_of_one(model):
    mixture = noise(2, 2, 5000)
    with torch.inference_mode():
        together = model(mixture)
        apart = torch.cat([model(mixture[:1]), model(mixture[1:])])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def test_eval_is_deterministic_and_leaves_its_input(model):
    mixture = noise(1, 2, 4000)
    before = mixture.clone()
    with torch.inference_mode():
        assert torch.equal(model(mixture), model(mixture))
    assert torch.equal(mixture, before)


def test_silence_in_silence_out(model):
    with torch.inference_mode():
        assert not model(torch.zeros(1, 2, 3000)).any()


def test_every_parameter_gets_a_finite_gradient(model):
    model(noise(1, 2, 4000)).square().sum(dim=(0, 2, 3))[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_silence_has_a_finite_gradient():
    spectrum = torch.zeros(1, 2, 4, 3, dtype=torch.complex64, requires_grad=True)
    features(spectrum, TINY).sum().backward()
    assert torch.isfinite(torch.view_as_real(spectrum.grad)).all()


def test_frames_of_one_token_have_masks_of_their_own(model):
    analysis = model.analyse(noise(1, 2, 8000))
    with torch.inference_mode():
        (masks,) = model.core(*analysis.inputs)
    first, second = masks[..., 0:20:2], masks[..., 1:21:2]
    assert (first - second).abs().max() > 1e-4
    torch.testing.assert_close(masks.sum(dim=1), torch.ones_like(masks[:, 0]))


def test_bins_of_a_row_share_a_mask_and_stems_still_sum():
    config = TINY.model_copy(update={"fine_bins": 192, "coarse_width": 4})
    assert (config.num_rows, sum(config.band_widths)) == (192 + 17, 192 + 17)
    model = BandSplit(config).eval()
    mixture = noise(1, 2, 6000)
    analysis = model.analyse(mixture)
    with torch.inference_mode():
        (rows,) = model.core(*analysis.inputs)
        masks = bins_of(rows, config)
        stems = model(mixture)
    assert rows.shape[-2] == 209
    assert masks.shape[-2] == 257
    assert torch.equal(masks[..., :192, :], rows[..., :192, :])
    assert torch.equal(masks[..., 192:256, :], rows[..., 192:208, :].repeat_interleave(4, dim=-2))
    assert torch.equal(masks[..., 256, :], rows[..., 208, :])  # the last row has one bin
    torch.testing.assert_close(stems.sum(dim=1), mixture, atol=1e-5, rtol=0)


def test_a_coarse_row_hears_the_mean_of_its_bins():
    config = TINY.model_copy(update={"fine_bins": 192})
    spectrum = torch.zeros(1, 2, 257, 1, dtype=torch.complex64)
    spectrum[0, 0, 200] = 2.0  # one of the four bins of row 194
    heard = features(spectrum, config)[0, 0, :, 0]
    assert heard[194].item() == pytest.approx((4.0 / 4 + 1e-7) ** 0.15, rel=1e-5)
    assert heard[193].item() == pytest.approx(1e-7**0.15, rel=1e-5)


def test_bands_cover_the_spectrum():
    assert sum(BandSplitConfig().band_widths) == BandSplitConfig().num_bins == 2049


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_channels": 15},
        {"bands": ((300, 1),)},
        {"no_such_option": 1},
    ],
)
def test_refuses_a_configuration_that_makes_no_sense(wrong):
    with pytest.raises(ValidationError):
        BandSplitConfig.model_validate({**TINY.model_dump(), **wrong})


def test_configuration_survives_json():
    assert BandSplitConfig.model_validate_json(TINY.model_dump_json()) == TINY
