"""SignalTrain with attention: how it starts, what it refuses, and what it learns at once."""

import pytest
import torch
from pydantic import ValidationError

from audiform.models.signaltrain_attention import (
    SignalTrainAttention,
    SignalTrainAttentionConfig,
)
from tests.models_for_tests import KNOBS, TINY_SIGNALTRAIN_ATTENTION


def build(**changes) -> SignalTrainAttention:
    torch.manual_seed(0)
    config = TINY_SIGNALTRAIN_ATTENTION.model_copy(update=changes)
    return SignalTrainAttention(config)


def test_an_untrained_network_leaves_the_sound_as_it_is() -> None:
    dry = 0.3 * torch.randn(1, 1, 700, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wet = build().eval()(dry, torch.zeros(1, len(KNOBS)))
    assert torch.equal(wet, dry)


def test_a_chunk_may_be_all_answered() -> None:
    network = build(chunk_samples=64, shrink_factor=1, near_frames=9)
    chunks = torch.randn(2, 64 + network.frames.latency_samples)
    wet, magnitudes = network.core(chunks, torch.zeros(2, len(KNOBS)))
    assert network.spec.context_samples == 0
    assert wet.shape == (2, 64)
    assert magnitudes.shape == (2, 17, 9)


def test_it_learns_a_gain_that_depends_on_the_level_long_before() -> None:
    """Loud or soft for a while, then alike: the end is halved where it was loud."""
    network = build(chunk_samples=256, shrink_factor=4, near_frames=12)
    optimizer = torch.optim.Adam(network.gain_curve.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    errors = []
    for _ in range(60):
        chunks = 0.1 * torch.randn(16, 256 + network.frames.latency_samples, generator=generator)
        loud = torch.rand(16, 1, generator=generator) < 0.5
        chunks[:, 64:128] *= torch.where(loud, 5.0, 0.5)
        dry = chunks[:, 192:256]
        wet, _ = network.core(chunks, torch.zeros(16, len(KNOBS)))
        wanted = torch.where(loud, 0.5, 1.0) * dry
        loss = (wet - wanted).square().mean() / dry.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    # A gain that does not know leaves 0.0625 at best.
    assert sum(errors[-5:]) / 5 < 0.02


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"near_frames": 400}, "near_frames 400 must lie between"),
        ({"level_samples": 96}, "level_samples 96 must divide the chunk of 32768 samples"),
        ({"point_samples": 24}, "point_samples 24 must divide level_samples 64"),
        ({"near_levels": 32}, "near_levels 32 must be at least 33"),
        ({"token_channels": 60}, "must be a multiple of twice num_heads"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message) -> None:
    with pytest.raises(ValidationError, match=message):
        SignalTrainAttentionConfig(**changes)
