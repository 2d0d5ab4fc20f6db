"""All that a run needs to go on where it stopped, in one file.

Written aside and renamed; read without running anything of it. Tensors are whole in the file,
whatever number of devices the run has had: a state can be resumed on another number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from audiform.errors import CheckpointError, ConfigError
from audiform.training.config import CHANGEABLE

#: Raised when what is in the file changes.
STATE_VERSION = 2


@dataclass
class Best:
    """The best weights so far by the validation's score: whose, when, how good."""

    candidate: str
    score: float
    step: int
    scores: dict[str, float]


@dataclass
class Counters:
    """How far a run came; ``seconds`` is time in training, over all its pieces.

    ``log_lines`` of the log belong to it; what was written after is dropped on resuming.
    ``term_sums`` and ``term_steps`` are what will make the next line of the log. There is no
    generator: what is random in step n is drawn from the seed and n.
    """

    step: int = 0
    seconds: float = 0.0
    validated_step: int = 0
    log_lines: int = 0
    term_sums: dict[str, float] = field(default_factory=dict)
    term_steps: int = 0
    best: Best | None = None


def whole(values: Any) -> Any:
    """Return a copy of nested values with their tensors complete and on the CPU.

    A tensor that is shared out is put together, for which every process must call this.
    """
    if isinstance(values, DTensor):
        values = values.full_tensor()
    if isinstance(values, Tensor):
        return values.detach().to("cpu", copy=True)
    if isinstance(values, Mapping):
        return {key: whole(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [whole(value) for value in values]
    return values


def shared_out(values: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return whole tensors placed and shared out as those of ``like``.

    Raises ValueError where names or shapes differ.
    """
    if values.keys() != like.keys():
        raise ValueError(f"different tensors: {sorted(values.keys() ^ like.keys())[:3]}")
    return {name: _as(values[name], like[name], name) for name in like}


def _as(value: Tensor, like: Tensor, name: str) -> Tensor:
    if value.shape != like.shape:
        raise ValueError(f"{name} is {tuple(value.shape)}, wanted {tuple(like.shape)}")
    value = value.to(like.device, like.dtype, copy=True)
    if isinstance(like, DTensor):
        return distribute_tensor(value, like.device_mesh, like.placements)
    return value


def load_weights(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give ``module`` whole tensors, shared out as its own are."""
    own = module.state_dict()
    with torch.no_grad():
        for name, value in shared_out(values, own).items():
            own[name].copy_(value)


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give ``optimizer`` the state that :func:`whole` made of another's."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        index: {
            name: _as(value, parameters[index], name) if value.ndim else value.clone()
            for name, value in entries.items()
        }
        for index, entries in saved["state"].items()
    }
    optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})


def write_state(
    path: Path, *, counters: Counters, description: Mapping[str, Any], tensors: Mapping[str, Any]
) -> None:
    """Write a state aside and rename it. ``tensors`` are whole.

    Raises :class:`CheckpointError` where the disk does not take it.
    """
    part = path.with_name(path.name + ".part")
    saved = {
        "version": STATE_VERSION,
        "counters": asdict(counters),
        "description": dict(description),
        "tensors": dict(tensors),
    }
    try:
        torch.save(saved, part)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(
            f"the state cannot be written ({error}), the one before it is kept; make room on the "
            "disk and resume",
            path=path,
        ) from error


def read_state(path: Path) -> tuple[Counters, dict[str, Any], dict[str, Any]]:
    """Return the counters, the description and the tensors of a state.

    Raises :class:`CheckpointError` where the file is damaged or another version's.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(saved, dict) or saved.get("version") != STATE_VERSION:
            found = saved.get("version", 1) if isinstance(saved, dict) else type(saved).__name__
            raise CheckpointError(
                f"the state has version {found}, this program reads {STATE_VERSION}; finish the "
                "run with the program that began it, or start anew in another folder",
                path=path,
            )
        numbers = dict(saved["counters"])
        best = numbers.pop("best")
        counters = Counters(**numbers, best=None if best is None else Best(**best))
        return counters, saved["description"], saved["tensors"]
    except (RuntimeError, KeyError, TypeError, EOFError, UnpicklingError, OSError) as error:
        raise CheckpointError(
            f"the training state cannot be read ({error}); restore the file from a copy, or start "
            "anew in another folder",
            path=path,
        ) from error


def require_equal_settings(
    then: Mapping[str, Any], now: Mapping[str, Any], *, folder: Path
) -> None:
    """Raise :class:`ConfigError` where settings that must not change differ, naming them."""
    old, new = dict(_flat(then)), dict(_flat(now))
    changed = [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not _changeable(name)
    ]
    if changed:
        raise ConfigError(
            f"{folder} cannot be resumed with other settings: {'; '.join(changed)}; resume with "
            "those it began with, or start anew in another folder"
        )


def _changeable(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "training" and parts[1] in CHANGEABLE


def _flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return (dotted path, value) of nested mappings; lists are values."""
    if not isinstance(values, Mapping):
        return [(prefix, values)]
    return [
        pair
        for key, value in values.items()
        for pair in _flat(value, f"{prefix}.{key}" if prefix else str(key))
    ]
