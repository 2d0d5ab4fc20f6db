from __future__ import annotations

import pytest
import torch
from tests import models_for_tests
from tests.models_for_tests import TINY_HTDEMUCS
from typer.testing import CliRunner

from audiform.checkpoints.adapter import fingerprint, merge, merged_network, read_adapter
from audiform.checkpoints.adapter import write_adapter as write
from audiform.checkpoints.file import build_model, read_checkpoint, write_checkpoint
from audiform.checkpoints.new_sources import with_sources
from audiform.cli.main import app
from audiform.errors import CheckpointError
from audiform.nn.lora import LoraConfig, add_adapters

LORA = LoraConfig(
    rank=2, alpha=4.0, targets=("transformer.*",), extras=("*_decoder.2.convolution.*",)
)
NEW = ("vocals", "guitar", "rest")


def tiny_htdemucs() -> torch.nn.Module:
    torch.manual_seed(0)
    return models_for_tests.tiny_htdemucs()


def mixture() -> torch.Tensor:
    return torch.randn(1, 2, 22050, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def base(tmp_path):
    return write_checkpoint(
        tmp_path / "base.safetensors",
        architecture="htdemucs",
        config=TINY_HTDEMUCS,
        state=tiny_htdemucs().state_dict(),
        sources=TINY_HTDEMUCS.sources,
        sample_rate=44100,
    )


@pytest.fixture
def adapter(base, tmp_path):
    """The file of an adapter for other sources, as a training run leaves it, and its network."""
    checkpoint = read_checkpoint(base)
    network = build_model(with_sources(checkpoint, NEW, seed=9))
    add_adapters(network, LORA)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    path = write(tmp_path / "adapter.safetensors", network, base=checkpoint, sources=NEW, lora=LORA)
    return path, network


@torch.no_grad()
def test_base_and_adapter_make_the_network_that_was_trained(base, adapter, tmp_path) -> None:
    path, network = adapter
    expected = network(mixture())
    merged = merge(path, str(base), tmp_path / "merged.safetensors")
    checkpoint = read_checkpoint(merged)
    assert checkpoint.header.sources == NEW
    got = build_model(checkpoint)(mixture())
    torch.testing.assert_close(got, expected, atol=1e-5 * expected.abs().max().item(), rtol=1e-5)
    plain = build_model(with_sources(read_checkpoint(base), NEW, seed=9))(mixture())
    assert (plain - got).abs().max() > 0.01 * plain.abs().max()


def test_the_file_is_small_and_names_its_base(base, adapter) -> None:
    path, network = adapter
    read = read_adapter(path)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert sum(tensor.numel() for tensor in read.state.values()) == trained
    assert path.stat().st_size < 4 * trained + 20_000 < base.stat().st_size
    assert read.header.base == fingerprint(tiny_htdemucs().state_dict())
    assert read.header.sources == NEW
    assert read.header.lora == LORA


def test_another_base_is_refused(base, adapter) -> None:
    other = read_checkpoint(base)
    dict.__setitem__(other.state, "waveform_widen.bias", other.state["waveform_widen.bias"] + 1)
    with pytest.raises(CheckpointError, match="belongs to a checkpoint with the fingerprint"):
        merged_network(other, read_adapter(adapter[0]))


def test_an_adapter_is_no_checkpoint_and_the_reverse(base, adapter) -> None:
    with pytest.raises(CheckpointError, match="audiform models merge"):
        read_checkpoint(adapter[0])
    with pytest.raises(CheckpointError, match="holds no adapter"):
        read_adapter(base)


def test_a_damaged_adapter_is_refused(base, adapter) -> None:
    read = read_adapter(adapter[0])
    dict.pop(read.state, "extra:spectrum_decoder.2.convolution.bias")
    with pytest.raises(CheckpointError, match="cannot be merged"):
        merged_network(read_checkpoint(base), read)


def test_the_fingerprint_sees_names_shapes_and_values() -> None:
    state = {"a": torch.arange(6.0), "b": torch.ones(2)}
    known = fingerprint(state)
    assert fingerprint(dict(reversed(state.items()))) == known
    assert fingerprint({name: value.half() for name, value in state.items()}) == known
    assert fingerprint({**state, "a": torch.arange(6.0).view(2, 3)}) != known
    assert fingerprint({**state, "b": torch.tensor([1.0, 1.001])}) != known
    assert fingerprint({"c": state["a"], "b": state["b"]}) != known


def test_the_command_merges_and_overwrites_nothing(base, adapter, tmp_path) -> None:
    out = tmp_path / "out.safetensors"
    command = ["models", "merge", str(adapter[0]), "--base", str(base), "-o", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert read_checkpoint(out).header.sources == NEW
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "exists" in again.output
