"""Our Demucs checkpoints written as packages that the published ``demucs`` 4.1.0 loads.

Two layouts, the same as :mod:`audiform.checkpoints.import_demucs` reads: the hub's (a bag's
YAML and safetensors) and ``.th``. Nothing of ``demucs`` is imported: its classes are written
as names.
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

from audiform.checkpoints.bag import is_signature
from audiform.checkpoints.file import Checkpoint, write_aside
from audiform.checkpoints.published_classes import CLASSES, PublishedClass
from audiform.checkpoints.published_names import renamed
from audiform.checkpoints.restricted_pickle import GlobalName
from audiform.errors import CheckpointError, ConfigError


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
        "klass": _class(checkpoint)[0],
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
        "klass": GlobalName(_class(checkpoint)[0]),
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


def _class(checkpoint: Checkpoint) -> tuple[str, PublishedClass]:
    """Return the published class and its name; of several names the first is the usual one."""
    for name, published in CLASSES.items():
        if isinstance(checkpoint.config, published.config):
            return name, published
    raise CheckpointError(
        f"holds a model of the architecture {checkpoint.architecture!r}, and the Demucs package "
        f"has only {', '.join(sorted({item.architecture for item in CLASSES.values()}))}; export "
        "one of these",
        path=checkpoint.path,
    )


def _options(checkpoint: Checkpoint) -> dict[str, Any]:
    return _class(checkpoint)[1].options_from_config(checkpoint.config)


def _published_state(checkpoint: Checkpoint, *, half: bool) -> dict[str, Tensor]:
    published_class = _class(checkpoint)[1]
    prefixes = published_class.parameter_prefixes(checkpoint.config)
    back = {ours: published for published, ours in prefixes.items()}
    state = {}
    for name, tensor in checkpoint.state.items():
        published = renamed(name, back)
        if published is None:
            raise CheckpointError(
                f"has the tensor {name!r}, which {published_class.title} does not have; build "
                "the model from it first to see all that is wrong",
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
