"""Recurrent effects as JSON: GuitarML's files, read and written, and RTNeural's, written.

GuitarML's (Proteus, NeuralPi; also Automated-GuitarAmpModelling's) hold ``model_data``, the
shape, and ``state_dict``, torch's tensors as lists. RTNeural's hold ``layers`` with weights as
Keras has them: transposed, and the gates of a GRU in another order. In both a knob is a further
input that goes from 0 to 1 over its range.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from audiform.checkpoints.file import Checkpoint
from audiform.checkpoints.header import EFFECT_VERSION, CheckpointHeader
from audiform.checkpoints.json_file import finite_tensor, read_json_table, write_json_table
from audiform.errors import CheckpointError, ConfigError
from audiform.knob import HALF_RANGE, Knob
from audiform.models.effect_rnn import EffectRNNConfig

#: What these files are for where they do not say it.
USUAL_RATE = 44100

#: More knobs than any file has.
MOST_INPUTS = 64

_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def read_guitarml(path: str | Path) -> Checkpoint:
    """Read GuitarML's JSON as one of our checkpoints; raises :class:`CheckpointError`.

    The file names no knobs and no rate: its knobs become ``knob_1``, ... from 0 to 1, the rate
    44100 Hz unless it says ``sample_rate``.
    """
    path = Path(path)
    table = read_json_table(path)
    config = _config(table, path)
    stored = table.get("state_dict")
    if not isinstance(stored, dict):
        raise CheckpointError("has no 'state_dict'; fetch the file again", path=path)
    expected = [
        f"rec.{part}_l{layer}"
        for layer in range(config.num_layers)
        for part in _PARTS
        if _has_biases(table) or "weight" in part
    ] + ["lin.weight", "lin.bias"]
    if set(stored) != set(expected):
        wrong = sorted(set(stored) ^ set(expected))
        raise CheckpointError(
            f"has other weights than its shape ({', '.join(wrong)[:300]}); fetch the file again",
            path=path,
        )
    tensors = {name: finite_tensor(stored[name], what=name, path=path) for name in expected}
    state = {name.replace("rec.", "recurrent."): tensors[name] for name in expected[:-2]}
    for layer in range(config.num_layers):
        for part in ("bias_ih", "bias_hh"):
            rows = state[f"recurrent.weight_hh_l{layer}"].shape[:1]
            state.setdefault(f"recurrent.{part}_l{layer}", torch.zeros(rows))
    state |= {"head.weight": tensors["lin.weight"], "head.bias": tensors["lin.bias"]}
    kinds = 2 if config.unit == "lstm" else 1
    state["rest"] = torch.zeros(kinds, config.num_layers, config.hidden_channels)
    _move_knobs(state, len(config.knobs), by=HALF_RANGE, path=path)
    return Checkpoint("effect-rnn", config, state, _header(config, path), path)


def read_guitarml_header(path: str | Path) -> CheckpointHeader:
    """Return what GuitarML's JSON says about itself."""
    path = Path(path)
    return _header(_config(read_json_table(path), path), path)


def export_guitarml(checkpoint: Checkpoint, path: str | Path) -> Path:
    """Write a recurrent effect as GuitarML's JSON; return the path."""
    config, path = _recurrent(checkpoint), Path(path)
    state = _with_knobs_from_zero(checkpoint, config)
    names = [f"{part}_l{layer}" for layer in range(config.num_layers) for part in _PARTS]
    tensors = {f"rec.{name}": state[f"recurrent.{name}"].tolist() for name in names}
    tensors |= {f"lin.{part}": state[f"head.{part}"].tolist() for part in ("weight", "bias")}
    write_json_table(
        path,
        {
            "model_data": {
                "model": "SimpleRNN",
                "input_size": 1 + len(config.knobs),
                "skip": int(config.skip),
                "output_size": 1,
                "unit_type": config.unit.upper(),
                "num_layers": config.num_layers,
                "hidden_size": config.hidden_channels,
                "bias_fl": True,
            },
            "sample_rate": config.sample_rate,
            "state_dict": tensors,
        },
    )
    return path


def export_rtneural(checkpoint: Checkpoint, path: str | Path) -> Path:
    """Write a recurrent effect as JSON of RTNeural; return the path.

    ``in_skip`` says whether the caller has to add the dry sound, as AIDA-X reads it.
    """
    config, path = _recurrent(checkpoint), Path(path)
    state = _with_knobs_from_zero(checkpoint, config)
    width = config.hidden_channels
    layers = [
        {
            "type": config.unit,
            "activation": "",
            "shape": [None, None, width],
            "weights": _keras_weights(state, layer, unit=config.unit),
        }
        for layer in range(config.num_layers)
    ]
    head = [state["head.weight"].T.tolist(), state["head.bias"].tolist()]
    layers.append({"type": "dense", "activation": "", "shape": [None, None, 1], "weights": head})
    write_json_table(
        path,
        {
            "in_shape": [None, None, 1 + len(config.knobs)],
            "in_skip": int(config.skip),
            "sample_rate": config.sample_rate,
            "layers": layers,
        },
    )
    return path


def _keras_weights(state: Mapping[str, Tensor], layer: int, *, unit: str) -> list[Any]:
    """Return kernel, recurrent kernel and biases; of an LSTM both biases are one."""
    inputs, own, bias, own_bias = (state[f"recurrent.{part}_l{layer}"] for part in _PARTS)
    if unit == "lstm":
        return [inputs.T.tolist(), own.T.tolist(), (bias + own_bias).tolist()]
    both = torch.stack([_update_first(bias), _update_first(own_bias)])
    return [_update_first(inputs).T.tolist(), _update_first(own).T.tolist(), both.tolist()]


def _update_first(gates: Tensor) -> Tensor:
    """Reorder rows of a GRU's gates: torch has reset, update, new, Keras update, reset, new."""
    reset, update, new = gates.chunk(3)
    return torch.cat([update, reset, new])


def _recurrent(checkpoint: Checkpoint) -> EffectRNNConfig:
    if not isinstance(checkpoint.config, EffectRNNConfig):
        raise ConfigError(
            f"GuitarML and RTNeural's recurrent layers run no {checkpoint.architecture!r}; export "
            "it to onnx, or train an effect-rnn"
        )
    return checkpoint.config


def _with_knobs_from_zero(checkpoint: Checkpoint, config: EffectRNNConfig) -> dict[str, Tensor]:
    state = dict(checkpoint.state)
    _move_knobs(state, len(config.knobs), by=-HALF_RANGE, path=checkpoint.path)
    return state


def _move_knobs(state: dict[str, Tensor], num_knobs: int, *, by: float, path: Path | None) -> None:
    """Let the first layer take knobs that are lower ``by`` so much: its bias makes up for it."""
    weight, bias = state["recurrent.weight_ih_l0"], state["recurrent.bias_ih_l0"]
    if weight.ndim != 2 or weight.shape[1] != 1 + num_knobs or len(weight) != len(bias):
        raise CheckpointError(
            f"has a first layer of the shape {tuple(weight.shape)} for {num_knobs} knobs; fetch "
            "the file again",
            path=path,
        )
    state["recurrent.bias_ih_l0"] = bias + by * weight[:, 1:].sum(1)


def _has_biases(table: Mapping[str, Any]) -> bool:
    return bool(table["model_data"].get("bias_fl", True))


def _config(table: Mapping[str, Any], path: Path) -> EffectRNNConfig:
    shape = table.get("model_data")
    if not isinstance(shape, dict) or shape.get("model", "SimpleRNN") != "SimpleRNN":
        raise CheckpointError(
            "has no 'model_data' of a SimpleRNN, so it is no file of GuitarML's recurrent models; "
            "of JSON files only these are read",
            path=path,
        )
    try:
        inputs = int(shape.get("input_size", 1))
        if not 1 <= inputs <= MOST_INPUTS or shape.get("output_size", 1) != 1:
            raise ValueError(f"{inputs} inputs, {shape.get('output_size', 1)} outputs")
        if shape.get("skip", 1) not in (0, 1):
            raise ValueError(f"skip {shape['skip']}, where 0 and 1 are known")
        return EffectRNNConfig(
            knobs=tuple(
                Knob(name=f"knob_{number}", minimum=0.0, maximum=1.0, default=0.5)
                for number in range(1, inputs)
            ),
            sample_rate=table.get("sample_rate", USUAL_RATE),
            unit=str(shape["unit_type"]).lower(),
            hidden_channels=shape["hidden_size"],
            num_layers=min(int(shape.get("num_layers", 1)), MOST_INPUTS),
            skip=bool(shape.get("skip", 1)),
        )
    except (ValidationError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"has a shape that cannot be imported ({str(error)[:500]}); of GuitarML's models LSTM "
            "and GRU with one output are read",
            path=path,
        ) from error


def _header(config: EffectRNNConfig, path: Path) -> CheckpointHeader:
    return CheckpointHeader(
        format_version=EFFECT_VERSION,
        architecture="effect-rnn",
        config=config.model_dump(mode="json"),
        knobs=tuple(knob.model_dump(mode="json") for knob in config.knobs),
        sample_rate=config.sample_rate,
        training={"imported_from": path.name},
    )
