"""Checkpoints of the published SignalTrain program turned into ours.

``torch.save`` of a table, named ``.tar`` without being an archive: the weights under
``state_dict``, the effect's name and knobs, the sizes of chunks, the sample rate; optimiser
state is left where it is. A missing entry has the value that the program itself falls back to.
Files of before the linear layers were named as below have other weights and are refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from audiform.checkpoints.file import Checkpoint, as_float32, listing
from audiform.checkpoints.header import EFFECT_VERSION, CheckpointHeader
from audiform.checkpoints.restricted_pickle import Inert, StoredTensor
from audiform.checkpoints.torch_file import TorchFile, open_torch_file
from audiform.errors import CheckpointError
from audiform.knob import Knob
from audiform.models.signaltrain import SignalTrainConfig

ARCHITECTURE = "signaltrain"

#: What the published program takes for granted where a file does not say it.
DEFAULTS: dict[str, Any] = {
    "sr": 44100,
    "shrink_factor": 4,
    "in_chunk_size": 8192,
    "knob_names": ["threshold", "ratio", "attackTime", "releaseTime"],
    "knob_ranges": [[-30.0, 0.0], [1.0, 5.0], [1e-3, 40e-3], [1e-3, 40e-3]],
}

_AUTOENCODERS = {"aenc": "magnitude_path", "phs_aenc": "phase_path"}
_LAYERS = {
    "fnn_enc": "encode.0",
    "fnn_enc2": "encode.1",
    "fnn_enc3": "encode.2",
    "fnn_enc4": "encode.3",
    "fnn_addknobs": "add_knobs",
    "fnn_dec4": "decode.0",
    "fnn_dec3": "decode.1",
    "fnn_dec2": "decode.2",
    "fnn_dec": "decode.3",
}

#: Published name -> ours.
LAYER_NAMES = {
    f"mpaec.{their_path}.{their_layer}.{part}": f"{path}.{layer}.{part}"
    for their_path, path in _AUTOENCODERS.items()
    for their_layer, layer in _LAYERS.items()
    for part in ("weight", "bias")
}

#: Ours -> the two published weights, real and imaginary, that it is stacked of.
TRANSFORM_NAMES = {
    f"stft.{way}": tuple(f"mpaec.dft_{way}.conv_{way}_{part}.weight" for part in ("real", "imag"))
    for way in ("analysis", "synthesis")
}

_NUMBER_LAYOUTS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i"}


def read_signaltrain(path: str | Path) -> Checkpoint:
    """Read a checkpoint of the published program as one of ours; nothing of it is run."""
    path = Path(path)
    with open_torch_file(path) as file:
        config = _config(file)
        state = _state(file)
        header = _header(file, config)
    return Checkpoint(ARCHITECTURE, config, state, header, path)


def read_signaltrain_header(path: str | Path) -> CheckpointHeader:
    """Return what a checkpoint of the published program says; its weights stay unread."""
    with open_torch_file(Path(path)) as file:
        return _header(file, _config(file))


def _table(file: TorchFile) -> Mapping[str, Any]:
    if not isinstance(file.content, dict) or not isinstance(file.content.get("state_dict"), dict):
        raise CheckpointError(
            "is a file of torch.save, but no checkpoint of SignalTrain (it has no table "
            "'state_dict'); give the .tar that its trainer wrote",
            path=file.path,
        )
    return file.content


def _config(file: TorchFile) -> SignalTrainConfig:
    table = _table(file)
    said = {name: table.get(name, default) for name, default in DEFAULTS.items()}
    try:
        knobs = _knobs(said["knob_names"], said["knob_ranges"])
        config = SignalTrainConfig.published(
            knobs=knobs,
            sample_rate=said["sr"],
            chunk_samples=said["in_chunk_size"],
            shrink_factor=said["shrink_factor"],
        )
    except (ValidationError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(
            f"cannot be imported: its settings do not make a SignalTrain ({str(error)[:500]}); "
            "use the file as its trainer wrote it",
            path=file.path,
        ) from error
    return config


def _knobs(names: Any, ranges: Any) -> list[Knob]:
    """Return the knobs; their defaults, which a file does not say, are the middle of the range."""
    ranges = _numbers(ranges) if isinstance(ranges, Inert) else ranges
    if not isinstance(names, list | tuple) or not isinstance(ranges, list | tuple):
        raise ValueError("knob_names and knob_ranges are no lists")
    knobs = []
    for name, (low, high) in zip(names, ranges, strict=True):
        identifier = re.sub(r"\W|^(?=\d)", "_", str(name))
        middle = (float(low) + float(high)) / 2
        knobs.append(Knob(name=identifier, minimum=float(low), maximum=float(high), default=middle))
    return knobs


def _numbers(array: Inert) -> list[tuple[float, float]]:
    """Return the rows of a NumPy array of two columns from the parts that it was pickled as."""
    match array.state:
        case (_, (int(rows), 2), Inert("numpy.dtype", (str(kind), *_)) as dtype, order, bytes(raw)):
            letter = _NUMBER_LAYOUTS.get(kind)
        case _:
            raise ValueError("knob_ranges is no array of two columns")
    if letter is None or not isinstance(dtype.state, tuple) or dtype.state[1] not in ("<", "|"):
        raise ValueError(f"knob_ranges is an array of {kind!r}, which is not known")
    flat = struct.unpack(f"<{2 * rows}{letter}", raw)
    if order:  # column by column, as Fortran has it
        return list(zip(flat[:rows], flat[rows:], strict=True))
    return list(zip(flat[::2], flat[1::2], strict=True))


def _state(file: TorchFile) -> dict[str, Tensor]:
    stored = _table(file)["state_dict"]
    transforms = [name for names in TRANSFORM_NAMES.values() for name in names]
    known = {*LAYER_NAMES, *transforms}
    unknown = [str(name) for name in stored if name not in known]
    missing = [name for name in known if not isinstance(stored.get(name), StoredTensor)]
    if unknown or missing:
        raise CheckpointError(
            "has other weights than SignalTrain of 2019 and later: "
            + "; ".join(
                f"{what} {listing(sorted(names))}"
                for what, names in (("unknown", unknown), ("missing", missing))
                if names
            )
            + ". It is of an older version, or of another program: train it anew",
            path=file.path,
        )
    tensors = {name: as_float32(file.tensor(stored[name])) for name in known}
    state = {ours: tensors[theirs] for theirs, ours in LAYER_NAMES.items()}
    for ours, parts in TRANSFORM_NAMES.items():
        real, imaginary = (tensors[name] for name in parts)
        if real.ndim != 3 or real.shape != imaginary.shape:
            raise CheckpointError(
                f"has {parts[0]} of the shape {tuple(real.shape)} where (1024, 1, 1024) belongs; "
                "use the file as its trainer wrote it",
                path=file.path,
            )
        state[ours] = torch.stack([real[:, 0], imaginary[:, 0]])
    return state


def _header(file: TorchFile, config: SignalTrainConfig) -> CheckpointHeader:
    table = _table(file)
    training: dict[str, Any] = {"imported_from": file.path.name}
    if isinstance(effect := table.get("effect_name"), str):
        training["effect"] = effect
    if type(epoch := table.get("epoch")) is int:
        training["epochs"] = epoch
    return CheckpointHeader(
        format_version=EFFECT_VERSION,
        architecture=ARCHITECTURE,
        config=config.model_dump(mode="json"),
        knobs=tuple(knob.model_dump(mode="json") for knob in config.knobs),
        sample_rate=config.sample_rate,
        training=training,
    )
