"""Our HT Demucs checkpoints written as packages that the published ``demucs`` 4.1.0 loads.

Two layouts, the same as :mod:`audiform.checkpoints.import_demucs` reads: the hub's (a bag's
YAML and safetensors) and ``.th``. Nothing of ``demucs`` is imported: its class is written
as a name.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from audiform.checkpoints import htdemucs_names
from audiform.checkpoints.bag import is_signature
from audiform.checkpoints.file import Checkpoint, write_aside
from audiform.checkpoints.restricted_pickle import GlobalName
from audiform.errors import CheckpointError, ConfigError
from audiform.models.htdemucs import HTDemucsConfig

_CLASS = GlobalName("demucs.htdemucs.HTDemucs")


def export_hub(
    checkpoint: Checkpoint, folder: str | Path, *, name: str, half: bool = True
) -> tuple[Path, Path]:
    """Write ``<name>.yaml`` and ``<signature>.safetensors``; return their paths.

    The signature is the beginning of the sha256 of the weights. ``half`` stores float16, as
    the published files do. ``demucs -n hf://<user>/<name>`` runs what is put on the hub in a
    repository of the right name.
    """
    _check_name(name)
    state = _published_state(checkpoint, half=half)
    options = _options(checkpoint)
    signature = _signature(state)
    weights = Path(folder) / f"{signature}.safetensors"
    metadata = {
        "klass": _CLASS.name,
        "args": "[]",
        "kwargs": json.dumps(options, default=_encoded_fraction),
        "licence": checkpoint.header.licence.model_dump_json(),
    }
    write_aside(weights, save(state, metadata=metadata))
    bag = Path(folder) / f"{name}.yaml"
    write_aside(bag, f"models: ['{signature}']\n".encode())
    return bag, weights


def export_th(checkpoint: Checkpoint, folder: str | Path, *, half: bool = True) -> Path:
    """Write ``<signature>-<sha256>.th`` and return its path; ``demucs --repo FOLDER`` finds it."""
    state = _published_state(checkpoint, half=half)
    package = {
        "klass": _CLASS,
        "args": (),
        "kwargs": _options(checkpoint),
        "state": state,
        "training_args": {},
    }
    content = io.BytesIO()
    torch.save(package, content, pickle_module=_PICKLE)
    checksum = hashlib.sha256(content.getvalue()).hexdigest()[:8]
    path = Path(folder) / f"{_signature(state)}-{checksum}.th"
    write_aside(path, content.getvalue())
    return path


def _check_name(name: str) -> None:
    if not is_signature(name):
        raise ConfigError(
            f"the name is {name!r}, and it becomes a file name: use letters, digits, _ - . only"
        )


def _options(checkpoint: Checkpoint) -> dict[str, Any]:
    return htdemucs_names.options_from_config(_config(checkpoint))


def _config(checkpoint: Checkpoint) -> HTDemucsConfig:
    if not isinstance(checkpoint.config, HTDemucsConfig):
        raise CheckpointError(
            f"holds a model of the architecture {checkpoint.architecture!r}, and the Demucs "
            "package has only Demucs models; export an htdemucs",
            path=checkpoint.path,
        )
    return checkpoint.config


def _published_state(checkpoint: Checkpoint, *, half: bool) -> dict[str, Tensor]:
    prefixes = htdemucs_names.parameter_prefixes(_config(checkpoint))
    back = {ours: published for published, ours in prefixes.items()}
    state = {}
    for name, tensor in checkpoint.state.items():
        published = htdemucs_names.renamed(name, back)
        if published is None:
            raise CheckpointError(
                f"has the tensor {name!r}, which HT Demucs does not have; build the model from "
                "it first to see all that is wrong",
                path=checkpoint.path,
            )
        state[published] = tensor.to(torch.float16 if half else torch.float32).contiguous()
    return state


def _signature(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].numpy().tobytes())
    return digest.hexdigest()[:8]


def _encoded_fraction(value: Any) -> dict[str, Any]:
    assert isinstance(value, Fraction), value
    return {
        "_type": "fraction",
        "numerator": value.numerator,
        "denominator": value.denominator,
    }


#: The pickler in Python: the one in C cannot be told how to write a new kind of value.
_PythonPickler: Any = pickle._Pickler


class _NamePickler(_PythonPickler):
    """Writes a :class:`GlobalName` as a reference to what it names."""

    dispatch = dict(_PythonPickler.dispatch)  # noqa: RUF012

    def _save_name(self, value: GlobalName) -> None:
        module, _, name = value.name.rpartition(".")
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    dispatch[GlobalName] = _save_name


#: What ``torch.save`` needs of a pickle module.
_PICKLE = SimpleNamespace(__name__="pickle", Pickler=_NamePickler, dump=pickle.dump)
