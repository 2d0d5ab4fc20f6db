"""The file of a low-rank adapter (``docs/format.md``): small, and of use with its base alone.

It holds the adapters, the parameters that were trained whole, and the fingerprint of the
checkpoint that it belongs to. Merging makes a plain checkpoint of both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save
from torch import Tensor, nn

from audiform.checkpoints.file import (
    Checkpoint,
    build_model,
    read_tensors,
    write_aside,
    write_checkpoint,
)
from audiform.checkpoints.header import ADAPTER_KEY
from audiform.checkpoints.model_package import resolve
from audiform.checkpoints.new_sources import with_sources
from audiform.checkpoints.safetensors_metadata import read_safetensors_metadata
from audiform.errors import CheckpointError, ConfigError
from audiform.nn.lora import (
    LoraConfig,
    adapter_state,
    add_adapters,
    extra_parameters,
    load_adapter_state,
    merge_adapters,
)

#: Before the name of a parameter that was trained whole.
EXTRA = "extra:"


class AdapterHeader(BaseModel):
    """What an adapter file says about itself. ``base`` is the base's fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    architecture: str
    base: str
    sources: tuple[str, ...]
    lora: LoraConfig
    training: dict[str, Any] = {}


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory."""

    header: AdapterHeader
    state: Mapping[str, Tensor]
    path: Path


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Return the sha256 over names, shapes and values, whatever file they came from."""
    total = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu()
        values = values.float() if values.is_floating_point() else values
        total.update(f"{name}{tuple(values.shape)}".encode())
        total.update(np.ascontiguousarray(values.numpy()).tobytes())
    return total.hexdigest()


def write_adapter(
    path: Path,
    network: nn.Module,
    *,
    base: Checkpoint,
    sources: Sequence[str],
    lora: LoraConfig,
    training: Mapping[str, Any] | None = None,
) -> Path:
    """Write the adapters and extras of ``network``: ``base``, changed to ``sources``, adapted."""
    header = AdapterHeader(
        architecture=base.architecture,
        base=fingerprint(base.state),
        sources=tuple(sources),
        lora=lora,
        training=dict(training or {}),
    )
    state = adapter_state(network)
    parameters = dict(network.named_parameters())
    for name in extra_parameters(network, lora):
        state[f"{EXTRA}{name}"] = parameters[name].detach()
    text = json.dumps(header.model_dump(mode="json"), allow_nan=False, sort_keys=True)
    tensors = {name: tensor.cpu().float().contiguous() for name, tensor in state.items()}
    write_aside(path, save(tensors, metadata={ADAPTER_KEY: text}))
    return path


def read_adapter(path: str | Path) -> Adapter:
    """Read what :func:`write_adapter` wrote; raises :class:`CheckpointError`."""
    path = Path(path)
    text = read_safetensors_metadata(path).get(ADAPTER_KEY)
    if text is None:
        raise CheckpointError(
            "holds no adapter; adapters are written by a training run with `lora` "
            "(adapter.safetensors in its folder)",
            path=path,
        )
    try:
        header = AdapterHeader.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(
            f"has a header that breaks the format of adapters: {error}; it was written by "
            "another version of audiform, or by hand: write it anew",
            path=path,
        ) from error
    return Adapter(header, read_tensors(path), path)


def merged_network(base: Checkpoint, adapter: Adapter) -> nn.Module:
    """Return the network of ``base`` with ``adapter`` in its weights, in eval mode.

    Raises :class:`CheckpointError` where the adapter belongs to another checkpoint.
    """
    header = adapter.header
    if (found := fingerprint(base.state)) != header.base:
        raise CheckpointError(
            f"belongs to a checkpoint with the fingerprint {header.base[:12]}, and "
            f"{base.path or 'the one given'} has {found[:12]}; give the checkpoint that the "
            "adapter was trained on",
            path=adapter.path,
        )
    network = build_model(with_sources(base, header.sources))
    with torch.random.fork_rng(devices=[]):
        add_adapters(network, header.lora)
    extras = {
        name.removeprefix(EXTRA): value
        for name, value in adapter.state.items()
        if name.startswith(EXTRA)
    }
    low_rank = {name: value for name, value in adapter.state.items() if not name.startswith(EXTRA)}
    try:
        load_adapter_state(network, low_rank)
        _load_extras(network, extras, extra_parameters(network, header.lora))
    except ConfigError as error:
        raise CheckpointError(f"cannot be merged: {error}", path=adapter.path) from error
    return merge_adapters(network).eval()


@torch.no_grad()
def _load_extras(network: nn.Module, extras: dict[str, Tensor], expected: list[str]) -> None:
    parameters = dict(network.named_parameters())
    if set(extras) != set(expected) or any(
        parameters[name].shape != value.shape for name, value in extras.items()
    ):
        raise ConfigError(
            f"its whole parameters are {', '.join(sorted(extras)) or 'none'} where "
            f"{', '.join(expected) or 'none'} belong; write the adapter anew"
        )
    for name, value in extras.items():
        parameters[name].copy_(value)


def merge(adapter: str | Path, base: str | Path, out: str | Path) -> Path:
    """Write ``base`` (a name or a path of one network) with ``adapter`` in it as a checkpoint."""
    package = resolve(base)
    if len(package.members) != 1:
        raise ConfigError(
            f"{package.name!r} is a bag of {len(package.members)} networks; name the one that the "
            f"adapter was trained on: {', '.join(member.signature for member in package.members)}"
        )
    below, above = package.members[0].read(), read_adapter(adapter)
    network = merged_network(below, above)
    config = below.config.model_copy(update={"sources": above.header.sources})
    return write_checkpoint(
        out,
        architecture=below.architecture,
        config=config,
        state=network.state_dict(),
        sources=above.header.sources,
        sample_rate=below.header.sample_rate,
        licence=below.header.licence,
        training={
            "base": below.header.training,
            "base_fingerprint": above.header.base,
            "adapter": above.header.training,
            "lora": above.header.lora.model_dump(mode="json"),
        },
    )
