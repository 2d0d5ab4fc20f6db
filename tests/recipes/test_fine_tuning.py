from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from audiform.checkpoints.adapter import merge, read_adapter
from audiform.checkpoints.file import build_model, read_checkpoint
from audiform.errors import ConfigError
from audiform.recipes import RECIPES, SEPARATION_RUNS
from audiform.recipes.settings import with_settings
from audiform.recipes.start import StartConfig, starting_network
from tests.recipes.runs import write_songs

NEW = ("vocals", "guitar", "drums")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Songs whose other is called guitar."""
    folder = write_songs(tmp_path_factory.mktemp("songs"))
    for stem in folder.glob("*/other.wav"):
        stem.rename(stem.with_name("guitar.wav"))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    songs = write_songs(tmp_path_factory.mktemp("songs"))
    settings = {"training.max_steps": 1, "data.held_out": ("three",)}
    return RECIPES["htdemucs-tiny"](songs, tmp_path_factory.mktemp("run"), settings=settings)


def mixture() -> torch.Tensor:
    return torch.randn(1, 2, 22050, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def stems(path) -> dict[str, torch.Tensor]:
    checkpoint = read_checkpoint(path)
    return dict(zip(checkpoint.header.sources, build_model(checkpoint)(mixture())[0], strict=True))


@torch.no_grad()
@pytest.mark.parametrize("name", ["htdemucs-ft-tiny", "htdemucs-lora-tiny"])
def test_kept_stems_are_the_bases_before_the_first_step(name, base) -> None:
    recipe = with_settings(
        SEPARATION_RUNS[name](),
        {
            "network.sources": NEW,
            "loss.source_weights": None,
            "start": {"checkpoint": str(base), "begin_as": {"guitar": "other"}},
        },
    )
    network = starting_network(recipe).network.eval()
    ours = dict(zip(NEW, network(mixture())[0], strict=True))
    before = stems(base)
    for source, kept in (("vocals", "vocals"), ("drums", "drums"), ("guitar", "other")):
        torch.testing.assert_close(ours[source], before[kept], atol=1e-6, rtol=1e-5)


def test_new_stems_are_trained_and_the_rest_goes_on(base, songs, tmp_path) -> None:
    settings = {
        "network.sources": NEW,
        "loss.source_weights": None,
        "training.best": "loss",
        "data.held_out": ("three",),
    }
    path = RECIPES["htdemucs-ft-tiny"](songs, tmp_path, start=str(base), settings=settings)
    header = read_checkpoint(path).header
    assert header.sources == NEW
    assert "sdr_guitar" in header.scores["validation"]
    assert header.training["base"]
    assert header.training["recipe"]["start"]["checkpoint"] == str(base)


def test_an_adapter_and_its_base_make_the_checkpoint_of_the_run(base, songs, tmp_path) -> None:
    """Also for new stems, whose output layers are trained whole."""
    settings = {
        "network.sources": NEW,
        "data.held_out": ("three",),
        "training.averages": (),
        "training.learning_rate": 0.05,
        "lora.targets": ["transformer.*"],
    }
    path = RECIPES["htdemucs-lora-tiny"](songs, tmp_path, start=str(base), settings=settings)
    adapter = read_adapter(tmp_path / "adapter.safetensors")
    assert all(
        name.startswith("transformer.") or (name.startswith("extra:") and "_decoder.2." in name)
        for name in adapter.state
    )
    merged = merge(adapter.path, str(base), tmp_path / "merged.safetensors")
    ours, theirs = stems(path), stems(merged)
    before = stems(base)
    for source in NEW:
        torch.testing.assert_close(ours[source], theirs[source], atol=1e-5, rtol=1e-4)
    assert (ours["vocals"] - before["vocals"]).abs().max() > 1e-3
    trained, kept = read_checkpoint(path).state, read_checkpoint(base).state
    name = "waveform_encoder.0.convolution.weight"
    assert torch.equal(trained[name], kept[name])
    name = "transformer.waveform_layers.0.feed_forward.expand.weight"
    assert not torch.equal(trained[name], kept[name])


@pytest.mark.slow  # three programs that start
def test_two_processes_train_the_adapters_of_one(base, tmp_path) -> None:
    songs = write_songs(tmp_path / "songs")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1])}

    def start(folder: str, **environment: str) -> subprocess.Popen[str]:
        command = f"-m audiform train htdemucs-lora-tiny --data {songs} -o {tmp_path / folder}"
        settings = (
            'data.held_out=["three"]',
            "training.batch_size=4",
            "network.transformer_dropout=0",
        )
        options = [word for setting in settings for word in ("--set", setting)]
        return subprocess.Popen(
            [sys.executable, *command.split(), "--from", str(base), *options],
            env={**os.environ, "ACCELERATE_USE_CPU": "true", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    pair = [
        start("two", RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", **address)
        for rank in ("0", "1")
    ]
    for process in (*pair, start("one")):
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    two, one = (
        read_adapter(tmp_path / name / "adapter.safetensors").state for name in ("two", "one")
    )
    assert two.keys() == one.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-3)


def test_what_a_run_cannot_begin_with_is_told(base) -> None:
    recipe = SEPARATION_RUNS["htdemucs-ft-tiny"]()
    with pytest.raises(ConfigError, match="goes on from a checkpoint"):
        starting_network(recipe)
    with pytest.raises(ConfigError, match="same architecture"):
        starting_network(recipe.model_copy(update={"start": StartConfig(checkpoint="default")}))
    with pytest.raises(ConfigError, match="is a bag of"):
        starting_network(recipe.model_copy(update={"start": StartConfig(checkpoint="mdx")}))
    with pytest.raises(ConfigError, match="lora adapts a checkpoint"):
        with_settings(SEPARATION_RUNS["htdemucs-tiny"](), {"lora": {"rank": 2}})
