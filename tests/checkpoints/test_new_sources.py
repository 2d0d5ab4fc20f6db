from __future__ import annotations

import pytest
import torch
from tests.contracts.test_models import TINY, build, music

from audiform.checkpoints.file import Checkpoint, build_model
from audiform.checkpoints.header import CheckpointHeader
from audiform.checkpoints.new_sources import source_axes, with_sources
from audiform.errors import ConfigError
from audiform.models import MODELS

FAMILY = pytest.mark.parametrize("name", ["demucs", "hdemucs", "htdemucs"])


def checkpoint(name: str) -> Checkpoint:
    network = build(name)
    header = CheckpointHeader(
        architecture=name,
        config=TINY[name].model_dump(mode="json"),
        sources=network.spec.sources,
        sample_rate=network.spec.sample_rate,
        scores={"sdr": 1.0},
    )
    return Checkpoint(name, TINY[name], network.state_dict(), header)


@torch.no_grad()
def stems(source: Checkpoint) -> dict[str, torch.Tensor]:
    network = build_model(source)
    out = network(music(network.spec.segment_samples))[0]
    return dict(zip(network.spec.sources, out, strict=True))


@FAMILY
def test_kept_stems_are_what_they_were(name) -> None:
    old = checkpoint(name)
    before = stems(old)
    two = stems(with_sources(old, ("vocals", "drums")))
    six = stems(with_sources(old, ("vocals", "guitar", "drums", "piano", "bass", "other")))
    assert list(two) == ["vocals", "drums"]
    tolerance = 1e-6 * max(stem.abs().max().item() for stem in before.values())
    for stem in two:
        torch.testing.assert_close(two[stem], before[stem], atol=tolerance, rtol=0)
    for stem in before:
        torch.testing.assert_close(six[stem], before[stem], atol=tolerance, rtol=0)
    assert not torch.allclose(six["guitar"], six["piano"], atol=tolerance)


@FAMILY
def test_a_new_stem_begins_as_another_or_fresh_from_the_seed(name) -> None:
    old = checkpoint(name)
    before = stems(old)
    names = ("drums", "guitar", "choir")
    changed = with_sources(old, names, begin_as={"guitar": "other"}, seed=5)
    after = stems(changed)
    torch.testing.assert_close(
        after["guitar"], before["other"], atol=1e-6 * before["other"].abs().max().item(), rtol=0
    )
    axes = source_axes(name, changed.config)
    torch.manual_seed(5)
    fresh = MODELS[name].network(changed.config).state_dict()
    for key, axis in axes.items():
        choir = changed.state[key].chunk(3, dim=axis)[2]
        assert torch.equal(choir, fresh[key].chunk(3, dim=axis)[2]), key
    again = with_sources(old, names, begin_as={"guitar": "other"}, seed=5)
    other_seed = with_sources(old, names, begin_as={"guitar": "other"}, seed=6)
    key = next(iter(axes))
    assert torch.equal(again.state[key], changed.state[key])
    assert not torch.equal(other_seed.state[key], changed.state[key])
    assert changed.header.scores == {}
    assert changed.header.sources == changed.config.sources == names


@FAMILY
def test_only_the_outermost_layers_know_the_sources(name) -> None:
    axes = source_axes(name, TINY[name])
    assert axes
    assert all("decoder" in key and ".convolution." in key for key in axes)
    old = checkpoint(name)
    changed = with_sources(old, ("a",))
    for key in set(old.state) - set(axes):
        assert torch.equal(changed.state[key], old.state[key])


def test_what_cannot_be_is_said() -> None:
    old = checkpoint("htdemucs")
    assert with_sources(old, old.header.sources) is old
    with pytest.raises(ConfigError, match="different names"):
        with_sources(old, ("a", "a"))
    with pytest.raises(ConfigError, match="cannot begin as"):
        with_sources(old, ("a", "b"), begin_as={"a": "guitar"})
    with pytest.raises(ConfigError, match="divides the mixture"):
        with_sources(checkpoint("band-split"), ("vocals", "rest"))
