"""A checkpoint of the released shape of HT Demucs with random weights, in Demucs' own format."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import torch
from demucs.htdemucs import HTDemucs

SIGNATURE = "deadbeef"
OPTIONS = {
    "sources": ["drums", "bass", "other", "vocals"],
    "channels": 48,
    "bottom_channels": 512,
    "t_heads": 8,
    "t_layers": 5,
    "dconv_mode": 3,
    "segment": Fraction(39, 5),
}


def write_checkpoint(folder: Path) -> Path:
    """Write ``<signature>-<sha256>.th`` into ``folder``."""
    torch.manual_seed(0)
    state = {key: value.half() for key, value in HTDemucs(**OPTIONS).state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "part"
    torch.save(
        {"klass": HTDemucs, "args": (), "kwargs": OPTIONS, "state": state, "training_args": {}},
        part,
    )
    digest = hashlib.sha256(part.read_bytes()).hexdigest()[:8]
    return part.rename(folder / f"{SIGNATURE}-{digest}.th")
