from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from audiform.errors import CheckpointError, ConfigError, DataError
from audiform.models.frame_primer import FramePrimer
from audiform.models.frame_transformer import FrameTransformer
from audiform.training.codebook import fit_codebook, frame_vectors, nearest_codes
from audiform.training.frame_pretraining import (
    FramePretrainer,
    FramePretrainingConfig,
    PretrainingBatch,
    draw_pretraining_batch,
    start_from,
)
from audiform.training.masking import MaskingConfig
from audiform.training.next_segment import NextSegmentConfig, put_separator
from tests.models_for_tests import TINY_FRAME_PRIMER, TINY_FRAME_TRANSFORMER

CONFIG = FramePretrainingConfig(
    masking=MaskingConfig(group_frames=4, rate=0.3),
    next_segment=NextSegmentConfig(separator_frames=4),
)
ONE_MASK = {"sources": ("instrumental", "vocals"), "rest_source": True}
NETWORKS = {
    "frame-transformer": (FrameTransformer, TINY_FRAME_TRANSFORMER),
    "frame-primer": (FramePrimer, TINY_FRAME_PRIMER.model_copy(update=ONE_MASK)),
    "stack": (FramePrimer, TINY_FRAME_PRIMER.model_copy(update={**ONE_MASK, "form": "stack"})),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def network(name: str):
    torch.manual_seed(0)
    kind, config = NETWORKS[name]
    built = kind(config)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return built


def batch(seed: int = 0, *, items: int = 4) -> PretrainingBatch:
    generator = torch.Generator().manual_seed(seed)
    own, other = 7 * torch.rand(2, items, 2, 32, 40, generator=generator).pow(4)
    return draw_pretraining_batch(own, other, CONFIG, generator=generator)


def test_a_batch_can_be_solved_by_taking_away() -> None:
    for seed in range(10):
        drawn = batch(seed)
        assert (drawn.inputs >= drawn.targets).all()
        assert drawn.inputs.max() <= 1
        for spectra in (drawn.inputs, drawn.targets):
            torch.testing.assert_close(spectra, put_separator(spectra, CONFIG.next_segment))
        assert not drawn.chosen[:, 18:22].any()
        changed = (drawn.inputs != drawn.targets).any(dim=(1, 2))
        assert not (changed & ~drawn.chosen).any()


def test_the_same_seed_draws_the_same_batch() -> None:
    first, second, other = batch(1), batch(1), batch(2)
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.goes_on, second.goes_on)
    assert not torch.equal(first.inputs, other.inputs)


@every_network
@pytest.mark.parametrize("coded", [False, True])
def test_every_weight_learns_from_one_step_of_both_tasks(name, coded) -> None:
    """In double precision: what is zero by construction shows, where float32 has rounding left."""
    drawn = batch()
    assert 0 < drawn.goes_on.float().mean() < 1
    drawn = replace(drawn, inputs=drawn.inputs.double(), targets=drawn.targets.double())
    codebook = torch.rand(5, 32).double() if coded else None
    pretrainer = FramePretrainer(network(name), CONFIG, codebook=codebook).double().train()
    losses = pretrainer(drawn)
    losses.total.backward()
    for key, parameter in pretrainer.named_parameters():
        if coded and key.startswith("network.head"):
            assert parameter.grad is None
            continue
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-12, key
    torch.testing.assert_close(losses.total, losses.frames + losses.next_segment)


def test_the_losses_are_what_they_say() -> None:
    drawn = batch()
    pretrainer = FramePretrainer(network("frame-primer"), CONFIG).eval()
    only = FramePretrainer(
        pretrainer.network, CONFIG.model_copy(update={"masked_only": True, "next_weight": 0.0})
    ).eval()
    only.load_state_dict(pretrainer.state_dict())
    with torch.no_grad():
        losses, of_masked = pretrainer(drawn), only(drawn)
        (masks,) = pretrainer.network.core(drawn.inputs)
        error = (masks[:, 0] * drawn.inputs - drawn.targets).abs()
        deepest = pretrainer.network.features(drawn.inputs).deepest
        logits = pretrainer.next_head(deepest).mean(dim=(1, 2, 3))  # a linear map, then the mean
    torch.testing.assert_close(losses.frames, error.mean())
    chosen = error.permute(0, 3, 1, 2)[drawn.chosen]
    torch.testing.assert_close(of_masked.frames, chosen.mean())
    torch.testing.assert_close(of_masked.total, of_masked.frames)
    right = torch.where(drawn.goes_on, logits.sigmoid(), 1 - logits.sigmoid())
    torch.testing.assert_close(losses.next_segment, -right.log().mean())
    torch.testing.assert_close(losses.next_accuracy, (right > 0.5).float().mean())


def test_both_tasks_can_be_learned() -> None:
    """On one batch: the mask task to half of its start, the second task to certainty."""
    drawn = batch(items=2, seed=3)
    assert drawn.goes_on.tolist() in ([True, False], [False, True])
    pretrainer = FramePretrainer(network("frame-primer"), CONFIG).train()
    optimiser = torch.optim.Adam(pretrainer.parameters(), lr=1e-2)
    first = pretrainer(drawn)
    for _ in range(25):
        optimiser.zero_grad()
        losses = pretrainer(drawn)
        losses.total.backward()
        optimiser.step()
    assert losses.frames < first.frames / 2
    assert losses.next_segment < 0.2


def test_a_network_with_other_sources_goes_on_from_it() -> None:
    pretrained = network("frame-primer")
    torch.manual_seed(9)
    other = FramePrimer(TINY_FRAME_PRIMER)
    head = {key: value.clone() for key, value in other.state_dict().items() if "to_masks" in key}
    start_from(other, pretrained.state_dict())
    state = other.state_dict()
    for key, value in pretrained.state_dict().items():
        assert torch.equal(state[key], head.get(key, value)), key


def test_a_network_of_another_shape_does_not() -> None:
    wider = FramePrimer(TINY_FRAME_PRIMER.model_copy(update={"feed_forward_width": 32}))
    deeper = FramePrimer(TINY_FRAME_PRIMER.model_copy(update={"num_layers": 3}))
    state = network("frame-primer").state_dict()
    for other in (wider, deeper):
        with pytest.raises(CheckpointError, match="same configuration"):
            start_from(other, state)


def test_pretraining_needs_one_mask() -> None:
    with pytest.raises(ConfigError, match="one mask, found 4"):
        FramePretrainer(FramePrimer(TINY_FRAME_PRIMER), CONFIG)


def test_a_codebook_finds_the_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(6)
    codes = torch.randint(6, (300,), generator=generator)
    vectors = centres[codes] + 0.01 * torch.randn(300, 6, generator=generator)
    codebook = fit_codebook(vectors, size=6, iterations=20, generator=generator)
    found = nearest_codes(vectors[None], codebook)[0]
    assert all(len(codes[found == code].unique()) == 1 for code in range(6))
    torch.testing.assert_close(
        codebook[found], torch.stack([vectors[found == code].mean(0) for code in found.tolist()])
    )


def test_a_codebook_needs_frames() -> None:
    with pytest.raises(DataError, match="fewer codes"):
        fit_codebook(torch.rand(3, 4), size=5, iterations=1, generator=torch.Generator())


def test_vectors_are_compressed_means_over_channels() -> None:
    spectra = torch.rand(2, 2, 6, 5)
    expected = ((spectra[1, 0, 3, 4] + spectra[1, 1, 3, 4]) / 2) ** 0.3
    torch.testing.assert_close(frame_vectors(spectra)[1, 4, 3], expected)
