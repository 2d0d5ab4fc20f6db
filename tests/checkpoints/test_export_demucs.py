"""What we export, the published package loads, and both networks say the same."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest
import torch
from tests.checkpoints import published

from audiform.checkpoints import (
    Checkpoint,
    CheckpointHeader,
    build_model,
    load_model,
    read_demucs,
)
from audiform.checkpoints.export_demucs import export_hub, export_th
from audiform.errors import CheckpointError, ConfigError
from audiform.models.htdemucs import HTDemucs, HTDemucsConfig

#: float32 sums in another order.
TOLERANCE = 1e-5

CONFIG = HTDemucsConfig(
    sources=published.SIX,
    hidden_channels=8,
    bottom_channels=32,
    transformer_layers=2,
    transformer_heads=4,
    segment_seconds=Fraction(2, 5),
)


@pytest.fixture(scope="module")
def checkpoint():
    torch.manual_seed(2)
    network = HTDemucs(CONFIG)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("gain"):
                parameter.uniform_(0.2, 1.0)
            parameter.copy_(parameter.half())
    header = CheckpointHeader(
        architecture="htdemucs",
        config=CONFIG.model_dump(mode="json"),
        sources=CONFIG.sources,
        sample_rate=CONFIG.sample_rate,
    )
    return Checkpoint("htdemucs", CONFIG, network.state_dict(), header)


def assert_equal_output(theirs, ours):
    mixture = torch.randn(1, 2, 12_000, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected, found = ours(mixture), theirs.eval()(mixture)
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_the_hub_layout(checkpoint, tmp_path):
    from demucs.hf import load_safetensors_model

    bag, weights = export_hub(checkpoint, tmp_path, name="mine")
    assert bag.read_text() == f"models: ['{weights.stem}']\n"
    theirs = load_safetensors_model(weights)
    assert theirs.sources == list(CONFIG.sources)
    assert theirs.segment == Fraction(2, 5)
    assert_equal_output(theirs, build_model(checkpoint))
    assert_equal_output(load_model(bag), build_model(checkpoint))


def test_the_th_layout(checkpoint, tmp_path):
    from demucs.pretrained import get_model

    path = export_th(checkpoint, tmp_path)
    assert_equal_output(
        get_model(path.stem.partition("-")[0], repo=tmp_path), build_model(checkpoint)
    )
    again = read_demucs(path)
    assert again.config == CONFIG
    assert all(torch.equal(again.state[name], value) for name, value in checkpoint.state.items())


def test_full_precision(checkpoint, tmp_path):
    state = {name: tensor + 1e-6 for name, tensor in checkpoint.state.items()}
    exact = Checkpoint("htdemucs", CONFIG, state, checkpoint.header)
    again = read_demucs(export_th(exact, tmp_path, half=False))
    assert all(torch.equal(again.state[name], value) for name, value in state.items())


def test_there_and_back_again(tmp_path):
    theirs = published.network(t_layers=2)
    first = read_demucs(published.save_th(tmp_path / "m.th", published.package(theirs)))
    with torch.no_grad():
        from demucs.hf import load_safetensors_model

        again = load_safetensors_model(export_hub(first, tmp_path, name="again")[1])
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_names_that_are_no_file_names(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="becomes a file name"):
        export_hub(checkpoint, tmp_path, name="../x")


def test_only_htdemucs(checkpoint, tmp_path):
    other = Checkpoint("other", checkpoint.header, checkpoint.state, checkpoint.header)
    with pytest.raises(CheckpointError, match="architecture 'other'"):
        export_th(other, tmp_path)


def test_exporting_never_imports_demucs(checkpoint, tmp_path):
    path = export_th(checkpoint, tmp_path)
    program = (
        "import sys; from audiform.checkpoints import read_demucs\n"
        "from audiform.checkpoints.export_demucs import export_hub, export_th\n"
        "checkpoint = read_demucs(sys.argv[1])\n"
        "export_th(checkpoint, sys.argv[2]); export_hub(checkpoint, sys.argv[2], name='m')\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'demucs']"
    )
    subprocess.run([sys.executable, "-c", program, path, tmp_path / "out"], check=True)
    assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
