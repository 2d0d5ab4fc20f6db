"""Comparing what runs leave in their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from audiform.training.state import read_state


def log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a log without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    clocks = ("seconds", "waiting")
    return [{name: v for name, v in line.items() if name not in clocks} for line in lines]


def losses(folder: Path) -> list[float]:
    """Return the curve of the loss."""
    return [line["loss"] for line in log(folder) if "loss" in line]


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return what a state holds by its place in it."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {path: value}
    return {p: v for key, entry in value.items() for p, v in leaves(entry, f"{path}/{key}").items()}


def assert_equal_states(first: Path, second: Path) -> None:
    """Compare two states bit for bit, but for the clock."""
    (counters, _, tensors), (others, _, found) = (
        read_state(folder / "state.pt") for folder in (first, second)
    )
    expected, found = leaves(tensors), leaves(found)
    assert expected.keys() == found.keys()
    for path, value in expected.items():
        is_tensor = isinstance(value, torch.Tensor)
        equal = torch.equal(value, found[path]) if is_tensor else value == found[path]
        assert equal, path
    counters.seconds = others.seconds = 0.0
    assert counters == others
