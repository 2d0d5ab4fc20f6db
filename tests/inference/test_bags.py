"""Bags with weights per source: what one stem does not need is neither loaded nor run."""

import numpy as np
import pytest
import soundfile
import torch

from audiform.checkpoints import write_checkpoint
from audiform.errors import CheckpointError, ConfigError
from audiform.inference.file_job import OutputOptions, separate_file_to
from audiform.inference.separator import Separator
from tests.models_for_tests import TINY_HTDEMUCS, tiny_htdemucs

SOURCES = TINY_HTDEMUCS.sources
IDENTITY = [[float(row == column) for column in range(4)] for row in range(4)]


def write_member(path, *, seed=0, config=TINY_HTDEMUCS, model=None):
    network = model or tiny_htdemucs(seed)
    write_checkpoint(
        path,
        architecture="htdemucs",
        config=config,
        state=network.state_dict(),
        sources=config.sources,
        sample_rate=config.sample_rate,
    )


@pytest.fixture
def bag(tmp_path):
    """Four networks, each for its own source; three of them hold a number that is not one."""
    names = [f"member{index}" for index in range(4)]
    for index, name in enumerate(names):
        network = tiny_htdemucs(index)
        if index != 2:
            with torch.no_grad():
                next(network.parameters()).fill_(torch.nan)
        write_member(tmp_path / f"{name}.safetensors", model=network)
    (tmp_path / "bag.yaml").write_text(f"models: {names}\nweights: {IDENTITY}\n")
    noise = np.random.default_rng(0).normal(0, 0.1, (30_000, 2))
    soundfile.write(tmp_path / "song.wav", noise, 44100)
    return tmp_path


@pytest.mark.parametrize("method", ["none", "minus"])
def test_one_stem_needs_one_network(bag, method, monkeypatch) -> None:
    loaded = []
    build = torch.nn.Module.load_state_dict
    monkeypatch.setattr(
        torch.nn.Module,
        "load_state_dict",
        lambda self, *args, **kwargs: loaded.append(self) or build(self, *args, **kwargs),
    )
    separator = Separator(bag / "bag.yaml")
    assert separator.sources == SOURCES and not loaded
    options = OutputOptions(format="wav", two_stems=SOURCES[2], other_method=method)
    written = separate_file_to(separator, bag / "song.wav", bag / "out", options)
    assert len(loaded) == 1
    alone = Separator(bag / "member2.safetensors").separate_file(bag / "song.wav")
    found, _ = soundfile.read(written.paths[SOURCES[2]], dtype="float32")
    np.testing.assert_allclose(found.T, alone[SOURCES[2]].samples, atol=1e-4)


def test_load_says_early_what_is_wrong(bag) -> None:
    """Before the first song, and only of networks that are needed."""
    (bag / "member1.safetensors").write_bytes(b"no checkpoint")
    separator = Separator(bag / "bag.yaml")
    separator.load([False, False, True, False])
    with pytest.raises(CheckpointError, match=r"member1\.safetensors"):
        separator.load()


def test_members_of_two_kinds_are_refused(bag) -> None:
    other = TINY_HTDEMUCS.model_copy(update={"sources": SOURCES[::-1]})
    write_member(bag / "member3.safetensors", config=other)
    with pytest.raises(ConfigError, match="member 4 of 'bag' separates vocals, other"):
        Separator(bag / "bag.yaml").load()
