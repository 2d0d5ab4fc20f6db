"""HT Demucs with sparse attention: the same network, in which tokens see fewer others."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import torch

from audiform.checkpoints.htdemucs_names import options_from_config
from audiform.errors import ConfigError
from audiform.models.htdemucs import HTDemucs, HTDemucsConfig
from audiform.nn.sparse_attention import SparseAttention, SparseAttentionConfig
from tests.models_for_tests import TINY_HTDEMUCS, tiny_htdemucs

LSH = SparseAttentionConfig(sparsity=0.9)
STATIC = SparseAttentionConfig(
    kind="static", masks=("diag", "random"), diagonal_window=10, sparsity=0.9
)


def dense_htdemucs() -> HTDemucs:
    """Return the tiny network, the same each time."""
    torch.manual_seed(0)
    return tiny_htdemucs()


def sparse_htdemucs(sparse: SparseAttentionConfig, **changes) -> HTDemucs:
    """Return the tiny network with the weights of the dense one."""
    network = HTDemucs(TINY_HTDEMUCS.model_copy(update={"sparse": sparse, **changes}))
    network.load_state_dict(dense_htdemucs().state_dict(), strict=True)
    return network.eval()


def music(length: int = 22050, *, batch: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 2, length, generator=torch.Generator().manual_seed(1))


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference, of the peak."""
    return ((one - other).abs().max() / other.abs().max()).item()


@torch.inference_mode()
def test_without_sparsity_it_is_the_dense_network() -> None:
    sparse = sparse_htdemucs(SparseAttentionConfig(sparsity=0.0))
    assert difference(sparse(music()), dense_htdemucs()(music())) < 1e-5


@pytest.mark.parametrize("sparse", [LSH, STATIC], ids=lambda sparse: sparse.kind)
@torch.inference_mode()
def test_it_takes_the_dense_weights_and_repeats_exactly(sparse) -> None:
    network, dense = sparse_htdemucs(sparse), dense_htdemucs()
    assert network.state_dict().keys() == dense.state_dict().keys()
    stems = network(music())
    assert torch.isfinite(stems).all()
    assert torch.equal(sparse_htdemucs(sparse)(music()), stems)
    assert difference(stems, dense(music())) > 1e-4


@torch.inference_mode()
def test_self_and_cross_attention_are_chosen_apart() -> None:
    results = []
    for self_attention, cross_attention in ((True, True), (True, False), (False, True)):
        network = sparse_htdemucs(
            LSH.model_copy(
                update={"self_attention": self_attention, "cross_attention": cross_attention}
            )
        )
        for branch in (network.transformer.spectrum_layers, network.transformer.waveform_layers):
            found = [layer.attention.sparse is not None for layer in branch]
            assert found == [self_attention, cross_attention, self_attention]
        results.append(network(music()))
    assert difference(results[0], results[1]) > 1e-4
    assert difference(results[0], results[2]) > 1e-4


def test_every_layer_hashes_for_itself() -> None:
    network = sparse_htdemucs(LSH)
    layers = [part.layer for part in network.modules() if isinstance(part, SparseAttention)]
    assert sorted(layers) == list(range(6))


@torch.inference_mode()
def test_a_batch_of_two_is_two_of_one_with_a_threshold_per_item() -> None:
    network = sparse_htdemucs(LSH.model_copy(update={"threshold_per": "item"}))
    mixture = music(batch=2) * torch.tensor([1.0, 0.01])[:, None, None]
    alone = torch.cat([network(mixture[:1]), network(mixture[1:])])
    assert difference(network(mixture), alone) < 1e-5


@torch.inference_mode()
def test_segments_may_be_longer() -> None:
    network = sparse_htdemucs(LSH, segment_seconds=Fraction(2))
    assert network.spec.segment_samples == 88200
    stems = network(music(88200))
    assert stems.shape == (1, 4, 2, 88200)
    assert torch.isfinite(stems).all()
    assert HTDemucsConfig(sparse=LSH, segment_seconds=Fraction(244, 5)).segment_samples == 2152080


@pytest.mark.parametrize("sparse", [LSH, STATIC], ids=lambda sparse: sparse.kind)
def test_it_learns(sparse) -> None:
    network = sparse_htdemucs(sparse).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    target = 0.1 * torch.randn(2, 4, 2, 22050, generator=torch.Generator().manual_seed(3))
    losses = []
    for _ in range(3):
        loss = (network(music(batch=2)) - target).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[2] < losses[1] < losses[0]
    for key, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, key


def test_the_configuration_survives_json() -> None:
    for sparse in (LSH, STATIC, None):
        config = TINY_HTDEMUCS.model_copy(update={"sparse": sparse})
        again = HTDemucsConfig.model_validate(json.loads(config.model_dump_json()))
        assert again == config


def test_export_to_the_published_package_is_refused() -> None:
    with pytest.raises(ConfigError, match="sparse = None"):
        options_from_config(TINY_HTDEMUCS.model_copy(update={"sparse": LSH}))
