"""The objective of separation: its terms, how they share out, in which precision it computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from audiform.dsp.stft import StftSpec, stft
from audiform.errors import ConfigError
from audiform.models.frame_transformer import FrameTransformer
from audiform.training.losses import spectral_error
from audiform.training.objective import LossModule
from audiform.training.separation import SeparationLossConfig, SeparationObjective
from audiform.training.validation import SegmentValidator
from tests.models_for_tests import (
    SHARES,
    SOURCES,
    TINY_FRAME_TRANSFORMER,
    ShareModel,
    tiny_htdemucs,
)
from tests.training.tasks import NoiseExamples

ALL = SeparationLossConfig(
    l1=1.0, l2=2.0, spectral=0.5, relative=0.3, spectral_sizes=((256, 64), (64, 16)),
    relative_size=(256, 64), source_weights=(1.0, 2.0, 3.0, 4.0),
)  # fmt: skip


def generator():
    return torch.Generator().manual_seed(0)


def stems(seed=0, items=2, length=600):
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(items, 4, 2, length, generator=chance)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    terms = SeparationObjective(ALL).losses(estimate=stems(1), reference=stems())
    weighted = terms["l1"] + 2 * terms["l2"] + 0.5 * terms["spectral"] + 0.3 * terms["relative"]
    torch.testing.assert_close(terms["loss"], weighted)
    difference = (stems(1) - stems()).numpy()
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    l1 = np.abs(difference).mean(axis=(0, 2, 3)) @ weights
    l2 = np.square(difference).mean(axis=(0, 2, 3)) @ weights
    assert terms["l1"].item() == pytest.approx(l1, rel=1e-5)
    assert terms["l2"].item() == pytest.approx(l2, rel=1e-5)


def test_a_batch_is_the_mean_of_its_items():
    """So it does not matter how many processes or parts share it out."""
    objective = SeparationObjective(ALL)
    whole = objective.losses(estimate=stems(1, 4), reference=stems(0, 4))
    halves = [
        objective.losses(estimate=stems(1, 4)[part], reference=stems(0, 4)[part])
        for part in (slice(0, 2), slice(2, 4))
    ]
    for name, value in whole.items():
        torch.testing.assert_close(value, (halves[0][name] + halves[1][name]) / 2)


def test_spectral_error_equals_a_direct_transform():
    length, n_fft, hop = 512, 64, 16
    estimate, reference = stems(1, 1, length), stems(0, 1, length)
    found = spectral_error(estimate=estimate, reference=reference, sizes=((n_fft, hop),))

    def magnitudes(signal):
        padded = np.pad(signal, (n_fft // 2, n_fft // 2), mode="reflect")
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
        frames = [padded[i : i + n_fft] * window for i in range(0, len(padded) - n_fft + 1, hop)]
        return np.abs(np.fft.rfft(frames, axis=1)) / np.sqrt(n_fft)

    for source in range(4):
        one, other = (
            np.stack([magnitudes(channel) for channel in audio[0, source].numpy().astype(float)])
            for audio in (estimate, reference)
        )
        convergence = np.linalg.norm(one - other) / np.linalg.norm(other)
        logarithms = np.abs(np.log(one) - np.log(other)).mean()
        # the floor below bins moves the mean of logarithms by less than a thousandth
        assert found[0, source].item() == pytest.approx(convergence + logarithms, rel=2e-3)


def test_silent_stems_have_finite_losses_and_gradients():
    reference = stems()
    reference[:, 3] = 0
    estimate = reference.clone().requires_grad_()
    loss = SeparationObjective(ALL).losses(estimate=estimate, reference=reference)["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(estimate.grad).all()


def test_the_mixture_of_a_batch_counts_where_there_is_one():
    network, objective = ShareModel(), SeparationObjective()
    batch = {"stems": stems()}
    plain = objective(network, batch, generator())
    other = objective(network, {**batch, "mixture": torch.zeros(2, 2, 600)}, generator())
    assert other["loss"].item() == pytest.approx(stems().abs().mean().item(), rel=1e-5)
    assert plain["loss"] != other["loss"]


def test_the_core_alone_computes_in_low_precision(monkeypatch):
    network = tiny_htdemucs()
    seen = {}
    for name in ("analyse", "core", "synthesise"):

        def spy(*arguments, step=getattr(network, name), name=name):
            seen[name] = torch.is_autocast_enabled("cpu")
            return step(*arguments)

        monkeypatch.setattr(network, name, spy)
    module = LossModule(network, SeparationObjective(ALL))
    batch = NoiseExamples(length=4096)(0)
    with torch.autocast("cpu", torch.bfloat16):
        low = module(batch, 0)
    assert seen == {"analyse": False, "core": True, "synthesise": False}
    assert low["loss"].dtype == torch.float32
    high = module(batch, 0)
    assert 0 < abs(low["loss"] - high["loss"]) < 0.02 * high["loss"]


def test_weights_must_be_one_for_each_source():
    config = SeparationLossConfig(source_weights=(1.0, 2.0))
    with pytest.raises(ConfigError, match="2 entries for 4 sources"):
        SeparationObjective(config).losses(estimate=stems(1), reference=stems())


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="must be above 0"):
        SeparationLossConfig(l1=0.0)
    with pytest.raises(ValidationError, match="source_weights must be above 0"):
        SeparationLossConfig(source_weights=(0.0, 0.0))


def test_an_objective_must_return_a_loss():
    module = LossModule(ShareModel(), lambda network, batch, generator: {"l1": torch.zeros(())})
    with pytest.raises(ConfigError, match='scalar named "loss"'):
        module({"stems": stems()}, 0)


def test_segments_are_scored_where_the_stem_sounds():
    class Scene:
        draw_size, draws_per_epoch = 2, 3

        def __call__(self, draw):
            audio = stems(draw)
            audio[:, 3] = 0  # never sings
            if draw:
                audio[:, 2] = 0
            return {"stems": audio}

    model = ShareModel()
    model.weight = torch.nn.Parameter(torch.zeros(1))
    found = SegmentValidator(SeparationObjective(), Scene(), SOURCES, 44100)(model)
    assert set(found.scores) == {"loss", "l1", "sdr", "sdr_drums", "sdr_bass", "sdr_other"}
    first = stems(0)
    error = SHARES[2] * (first.sum(dim=1) - first[:, 3]) - first[:, 2]
    expected = 10 * torch.log10(
        first[:, 2].square().sum(dim=(1, 2)) / error.square().sum(dim=(1, 2))
    )
    assert found.scores["sdr_other"] == pytest.approx(expected.mean().item(), rel=1e-4)
    assert list(found.excerpts) == ["mixture", *SOURCES]
    assert found.excerpts["bass"].samples.shape == (2, 600)


def test_magnitudes_are_compared_without_phases():
    config = SeparationLossConfig(l1=0.0, magnitude=1.0, relative_size=(256, 64))
    objective = SeparationObjective(config)
    reference = stems()
    turned = objective.losses(estimate=-reference, reference=reference)
    assert turned["loss"] == 0
    louder = objective.losses(estimate=1.5 * reference, reference=reference)
    level = stft(reference, StftSpec(256, 64)).abs().mean()
    torch.testing.assert_close(louder["loss"], 0.5 * level)


@pytest.mark.parametrize("rest_source", [True, False])
def test_losses_at_the_masks_are_those_of_the_masked_spectra(rest_source):
    sources = ("instrumental", "vocals") if rest_source else SOURCES
    network = FrameTransformer(
        TINY_FRAME_TRANSFORMER.model_copy(update={"sources": sources, "rest_source": rest_source})
    ).eval()
    config = SeparationLossConfig(l1=0.0, relative=1.0, magnitude=2.0, at_masks=True)
    true = 0.02 * stems(length=640)[:, : len(sources)]
    mixture = true.sum(dim=1)
    with torch.no_grad():
        terms = SeparationObjective(config)(network, {"stems": true}, generator())
        spectrum = stft(mixture, StftSpec(64, 32))
        (masks,) = network.core(spectrum[..., :-1, :].abs())
    masks = torch.cat([masks, masks[..., -1:, :]], dim=-2)
    masks = torch.cat([masks, 1 - masks], dim=1) if rest_source else masks
    wanted = stft(true, StftSpec(64, 32))
    difference = (masks * spectrum.abs()[:, None] - wanted.abs()).abs().mean()
    torch.testing.assert_close(terms["magnitude"], difference)
    assert 0 < terms["relative"] < 2
    torch.testing.assert_close(terms["loss"], terms["relative"] + 2 * terms["magnitude"])


def test_only_networks_of_masks_have_losses_there():
    config = SeparationLossConfig(l1=0.0, relative=1.0, at_masks=True)
    with pytest.raises(ConfigError, match="mask magnitudes"):
        SeparationObjective(config)(tiny_htdemucs(), {"stems": stems()}, generator())
    with pytest.raises(ValidationError, match="at_masks"):
        SeparationLossConfig(relative=1.0, at_masks=True)
