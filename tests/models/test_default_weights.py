from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import torch

from audiform.checkpoints.file import build_model, read_checkpoint

PATH = Path(str(files("audiform"))) / "weights" / "default.safetensors"


@pytest.fixture(scope="module")
def checkpoint():
    return read_checkpoint(PATH)


def test_the_package_stays_small():
    assert PATH.stat().st_size < 25e6


def test_says_what_it_is_and_whom_it_owes(checkpoint):
    header = checkpoint.header
    assert header.architecture == "band-split"
    assert header.sources == ("drums", "bass", "other", "vocals")
    assert header.sample_rate == 44100
    assert header.licence.weights == "MIT"
    assert "CC BY" in header.licence.data
    assert header.training["recipe"] == "default"


def test_tells_a_kick_from_a_bass_tone(checkpoint):
    """Not music, but the two simplest sounds there are: a noise burst twice a second, and 82 Hz."""
    model = build_model(checkpoint)
    time = torch.arange(4 * 44100) / 44100
    generator = torch.Generator().manual_seed(0)
    hits = torch.randn(len(time), generator=generator) * torch.exp(-30 * (time % 0.5))
    tone = sum(torch.sin(2 * torch.pi * 82.4 * k * time) / k for k in range(1, 8))
    drums, bass = (sound / sound.std() for sound in (hits, tone))
    mixture = (drums + bass)[None, None].repeat(1, 2, 1) / 2**0.5
    with torch.inference_mode():
        stems = model(mixture)[0].mean(dim=1)

    def likeness(stem: torch.Tensor, sound: torch.Tensor) -> float:
        return torch.nn.functional.cosine_similarity(stem, sound, dim=0).item()

    assert likeness(stems[0], drums) > 0.9
    assert likeness(stems[1], bass) > 0.9
