"""Neural Amp Modeler's ``.nam`` files, read and written: WaveNets of both versions, LSTMs.

JSON with the architecture, its configuration and all weights as one list. The order of the list,
and what is the same in both directions, is in :func:`_wavenet_order` and :func:`_lstm_order`.
The specification is that of neural-amp-modeler (MIT), versions 0.5.4 and 0.7.0 of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from audiform.checkpoints.file import Checkpoint
from audiform.checkpoints.header import EFFECT_VERSION, CheckpointHeader
from audiform.checkpoints.json_file import (
    finite_tensor,
    plain_metadata,
    read_json_table,
    write_json_table,
)
from audiform.errors import CheckpointError, ConfigError
from audiform.models.effect_rnn import EffectRNNConfig
from audiform.models.nam_wavenet import LEAK, NamWaveNetConfig, StackConfig

#: The file's version for stacks of one kernel size, and for those of several.
FIRST_VERSION, SECOND_VERSION = "0.5.4", "0.7.0"

#: What a file without a rate means.
USUAL_RATE = 48000

#: Ours -> theirs.
ACTIVATIONS = {
    "tanh": "Tanh",
    "hardtanh": "Hardtanh",
    "relu": "ReLU",
    "leaky-relu": "LeakyReLU",
    "sigmoid": "Sigmoid",
    "silu": "SiLU",
}
_FROM_ACTIVATION = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | {"Fasttanh": "tanh"}

#: More layers than any recurrent model has.
MOST_LAYERS = 64

#: What version 2 can switch on and our networks do not have: each is off where it is absent.
_FILMS = (
    "conv_pre_film",
    "conv_post_film",
    "input_mixin_pre_film",
    "input_mixin_post_film",
    "activation_pre_film",
    "activation_post_film",
    "layer1x1_post_film",
    "head1x1_post_film",
)


class Piece(NamedTuple):
    """Consecutive weights of the list. ``name`` is ours, or None for what we leave out."""

    name: str | None
    shape: tuple[int, ...]


def read_nam(path: str | Path) -> Checkpoint:
    """Read a ``.nam`` file as one of our checkpoints.

    Of a container of several sizes the largest, its last, is taken. Raises
    :class:`CheckpointError` for what our networks do not have.
    """
    path = Path(path)
    table, config = _parse(path)
    order = list(_order(config))
    weights = finite_tensor(table.get("weights"), what="'weights'", path=path).flatten()
    expected = sum(math.prod(piece.shape) for piece in order)
    if len(weights) != expected:
        raise CheckpointError(
            f"has {len(weights)} weights where its configuration needs {expected}; fetch the "
            "file again",
            path=path,
        )
    parts = weights.split([math.prod(piece.shape) for piece in order])
    pieces = {
        piece.name: part.reshape(piece.shape)
        for piece, part in zip(order, parts, strict=True)
        if piece.name is not None
    }
    if isinstance(config, EffectRNNConfig):
        return _checkpoint("effect-rnn", config, _lstm_state(pieces, config), table, path)
    # The scale stands in the configuration, too; where both differ, the list's counts.
    scale = pieces.pop("head_scale")
    if scale != torch.tensor(config.head_scale):
        config = config.model_copy(update={"head_scale": scale.item()})
    return _checkpoint("nam-wavenet", config, _wavenet_state(pieces, config), table, path)


def read_nam_header(path: str | Path) -> CheckpointHeader:
    """Return what a ``.nam`` file says about itself."""
    path = Path(path)
    table, config = _parse(path)
    return _header(config, table, path)


def export_nam(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    name: str,
    input_level_dbu: float | None = None,
    output_level_dbu: float | None = None,
) -> Path:
    """Write an effect without knobs as ``.nam``; return the path.

    The levels are those of a sine that reaches full scale, at the input of what was modelled
    and at its recording. Raises :class:`ConfigError` for what the format does not have.
    """
    config, path = checkpoint.config, Path(path)
    if isinstance(config, EffectRNNConfig):
        _check_lstm(config)
        architecture, version, table = "LSTM", FIRST_VERSION, _lstm_table(config)
        pieces = _lstm_pieces(checkpoint.state, config)
    elif isinstance(config, NamWaveNetConfig):
        simple = all(_is_simple(stack) for stack in config.stacks)
        version = FIRST_VERSION if simple else SECOND_VERSION
        architecture, table = "WaveNet", _wavenet_table(config, simple=simple)
        pieces = _wavenet_pieces(checkpoint.state, config)
    else:
        raise ConfigError(
            f"Neural Amp Modeler runs no {checkpoint.architecture!r}; export it to onnx, or train "
            "a nam-wavenet"
        )
    if config.knobs:
        raise ConfigError("a .nam file has no knobs: fix them first")
    flat = [
        pieces[piece.name] if piece.name else torch.zeros(piece.shape) for piece in _order(config)
    ]
    levels = {"input_level_dbu": input_level_dbu, "output_level_dbu": output_level_dbu}
    metadata = {"name": name} | {key: value for key, value in levels.items() if value is not None}
    write_json_table(
        path,
        {
            "version": version,
            "metadata": metadata,
            "architecture": architecture,
            "config": table,
            "weights": torch.cat([part.flatten() for part in flat]).tolist(),
            "sample_rate": config.sample_rate,
        },
    )
    return path


def _order(config: EffectRNNConfig | NamWaveNetConfig) -> Iterator[Piece]:
    return _lstm_order(config) if isinstance(config, EffectRNNConfig) else _wavenet_order(config)


def _wavenet_order(config: NamWaveNetConfig) -> Iterator[Piece]:
    """Return the pieces of a WaveNet: stack by stack, layer by layer, then the head's scale."""
    before = 1
    for index, stack in enumerate(config.stacks):
        own, channels = f"stacks.{index}", stack.channels
        mixed = channels * (2 if stack.gated else 1)
        yield Piece(f"{own}.input.weight", (channels, before, 1))
        for layer, kernel in enumerate(stack.kernel_sizes):
            last = index + 1 == len(config.stacks) and layer + 1 == len(stack.kernel_sizes)
            name = f"{own}.layers.{layer}"
            yield Piece(f"{name}.convolution.weight", (mixed, channels, kernel))
            yield Piece(f"{name}.convolution.bias", (mixed,))
            yield Piece(f"{own}.condition.{layer}", (mixed, 1, 1))
            yield Piece(None if last else f"{name}.output.weight", (channels, channels, 1))
            yield Piece(None if last else f"{name}.output.bias", (channels,))
        yield Piece(f"{own}.head.weight", (stack.head_channels, channels, stack.head_kernel_size))
        if stack.head_bias:
            yield Piece(f"{own}.head.bias", (stack.head_channels,))
        before = channels
    yield Piece("head_scale", ())


def _wavenet_state(pieces: Mapping[str, Tensor], config: NamWaveNetConfig) -> dict[str, Tensor]:
    """Return our tensors of the pieces: the conditions of a stack are one."""
    state = {name: part for name, part in pieces.items() if ".condition." not in name}
    for index, stack in enumerate(config.stacks):
        own = [pieces[f"stacks.{index}.condition.{layer}"] for layer in range(len(stack.dilations))]
        state[f"stacks.{index}.condition.weight"] = torch.cat(own)
    return state


def _wavenet_pieces(state: Mapping[str, Tensor], config: NamWaveNetConfig) -> dict[str, Tensor]:
    pieces = dict(state)
    for index, stack in enumerate(config.stacks):
        together = pieces.pop(f"stacks.{index}.condition.weight")
        for layer, part in enumerate(together.chunk(len(stack.dilations))):
            pieces[f"stacks.{index}.condition.{layer}"] = part
    return pieces | {"head_scale": torch.tensor(config.head_scale)}


def _lstm_order(config: EffectRNNConfig) -> Iterator[Piece]:
    """Return the pieces of an LSTM: for each layer what it weighs its input and itself with.

    Gates are in torch's order: input, forget, cell, output.
    """
    width, before = config.hidden_channels, 1
    for layer in range(config.num_layers):
        yield Piece(f"weight_{layer}", (4 * width, before + width))
        yield Piece(f"bias_{layer}", (4 * width,))
        yield Piece(f"hidden_{layer}", (width,))
        yield Piece(f"cell_{layer}", (width,))
        before = width
    yield Piece("head.weight", (1, width))
    yield Piece("head.bias", (1,))


def _lstm_state(pieces: Mapping[str, Tensor], config: EffectRNNConfig) -> dict[str, Tensor]:
    width = config.hidden_channels
    state = {name: pieces[name] for name in ("head.weight", "head.bias")}
    for layer in range(config.num_layers):
        weight, bias = pieces[f"weight_{layer}"], pieces[f"bias_{layer}"]
        state[f"recurrent.weight_ih_l{layer}"] = weight[:, :-width]
        state[f"recurrent.weight_hh_l{layer}"] = weight[:, -width:]
        state[f"recurrent.bias_ih_l{layer}"] = bias
        state[f"recurrent.bias_hh_l{layer}"] = torch.zeros_like(bias)
    layers = range(config.num_layers)
    state["rest"] = torch.stack(
        [
            torch.stack([pieces[f"{kind}_{layer}"] for layer in layers])
            for kind in ("hidden", "cell")
        ]
    )
    return state


def _lstm_pieces(state: Mapping[str, Tensor], config: EffectRNNConfig) -> dict[str, Tensor]:
    pieces = {name: state[name] for name in ("head.weight", "head.bias")}
    for layer in range(config.num_layers):
        own = {
            part: state[f"recurrent.{part}_l{layer}"]
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        pieces[f"weight_{layer}"] = torch.cat([own["weight_ih"], own["weight_hh"]], dim=1)
        pieces[f"bias_{layer}"] = own["bias_ih"] + own["bias_hh"]
        pieces[f"hidden_{layer}"], pieces[f"cell_{layer}"] = state["rest"][:, layer]
    return pieces


def _check_lstm(config: EffectRNNConfig) -> None:
    if config.unit != "lstm":
        raise ConfigError(f"a .nam file has no {config.unit!r}; export it to guitarml or rtneural")
    if config.skip:
        raise ConfigError(
            "a .nam file has no LSTM that adds the dry sound; export it to guitarml or rtneural, "
            "or train one with skip=false"
        )


def _lstm_table(config: EffectRNNConfig) -> dict[str, int]:
    return {
        "input_size": 1,
        "hidden_size": config.hidden_channels,
        "num_layers": config.num_layers,
    }


def _is_simple(stack: StackConfig) -> bool:
    return len(set(stack.kernel_sizes)) == 1 and stack.head_kernel_size == 1


def _wavenet_table(config: NamWaveNetConfig, *, simple: bool) -> dict[str, Any]:
    layers, before = [], 1
    for stack in config.stacks:
        shared = {"input_size": before, "condition_size": 1, "channels": stack.channels}
        shared["dilations"] = list(stack.dilations)  # type: ignore[assignment]
        layers.append(shared | (_first_table(stack) if simple else _second_table(stack)))
        before = stack.channels
    return {"layers": layers, "head": None, "head_scale": config.head_scale}


def _first_table(stack: StackConfig) -> dict[str, Any]:
    return {
        "head_size": stack.head_channels,
        "kernel_size": stack.kernel_sizes[0],
        "activation": ACTIVATIONS[stack.activation],
        "gated": stack.gated,
        "head_bias": stack.head_bias,
    }


def _second_table(stack: StackConfig) -> dict[str, Any]:
    count = len(stack.dilations)
    activation: dict[str, Any] = {"type": ACTIVATIONS[stack.activation]}
    if stack.activation == "leaky-relu":
        activation["negative_slope"] = LEAK
    off = {"active": False, "shift": True, "groups": 1}
    return {
        "head": {
            "out_channels": stack.head_channels,
            "kernel_size": stack.head_kernel_size,
            "bias": stack.head_bias,
        },
        "kernel_sizes": list(stack.kernel_sizes),
        "activation": [activation] * count,
        "bottleneck": stack.channels,
        "head1x1": {"active": False, "out_channels": 1, "groups": 1},
        "layer1x1": {"active": True, "groups": 1},
        "groups_input": 1,
        "groups_input_mixin": 1,
        **dict.fromkeys(_FILMS, off),
        "gating_mode": ["gated" if stack.gated else "none"] * count,
        "secondary_activation": ["Sigmoid" if stack.gated else None] * count,
        "slimmable": None,
    }


def _parse(path: Path) -> tuple[dict[str, Any], EffectRNNConfig | NamWaveNetConfig]:
    table = read_json_table(path)
    if table.get("architecture") == "SlimmableContainer":
        table = _largest(table, path)
    architecture, config = table.get("architecture"), table.get("config")
    if architecture not in ("LSTM", "WaveNet") or not isinstance(config, dict):
        raise CheckpointError(
            f"is of the architecture {str(architecture)[:80]!r}, and of Neural Amp Modeler's this "
            "version of audiform reads WaveNet and LSTM; use one of these",
            path=path,
        )
    parse = _lstm_config if architecture == "LSTM" else _wavenet_config
    try:
        return table, parse(config, _sample_rate(table))
    except (ValidationError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"has a configuration that cannot be imported ({str(error)[:500]}); export the model "
            "anew with Neural Amp Modeler, without what is named",
            path=path,
        ) from error


def _largest(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    try:
        model = table["config"]["submodels"][-1]["model"]
    except (TypeError, KeyError, IndexError) as error:
        raise CheckpointError(
            "is a container without models; fetch the file again", path=path
        ) from error
    if not isinstance(model, dict):
        raise CheckpointError("is a container without models; fetch the file again", path=path)
    rate = {"sample_rate": table["sample_rate"]} if "sample_rate" in table else {}
    return rate | model


def _sample_rate(table: Mapping[str, Any]) -> int:
    rate = table.get("sample_rate") or USUAL_RATE
    if int(rate) != rate:
        raise ValueError(f"sample_rate {rate} is no whole number")
    return int(rate)


def _lstm_config(config: Mapping[str, Any], sample_rate: int) -> EffectRNNConfig:
    if config.get("input_size", 1) != 1:
        raise ValueError(f"input_size {config['input_size']}, where only audio, 1, is known")
    if config.get("num_layers", 1) > MOST_LAYERS:
        raise ValueError(f"num_layers {config['num_layers']}")
    return EffectRNNConfig(
        sample_rate=sample_rate,
        hidden_channels=config["hidden_size"],
        num_layers=config.get("num_layers", 1),
        skip=False,
    )


def _wavenet_config(config: Mapping[str, Any], sample_rate: int) -> NamWaveNetConfig:
    for absent in ("head", "condition_dsp"):
        if config.get(absent) is not None:
            raise ValueError(f"{absent!r} is not known here")
    return NamWaveNetConfig(
        sample_rate=sample_rate,
        stacks=tuple(_stack(layers) for layers in config["layers"]),
        head_scale=config.get("head_scale", 1.0),
    )


def _stack(table: Mapping[str, Any]) -> StackConfig:
    _check_plain(table)
    count = len(table["dilations"])
    head = table.get("head") or {
        "out_channels": table["head_size"],
        "kernel_size": 1,
        "bias": table["head_bias"],
    }
    gating = _only(table.get("gating_mode", "gated" if table.get("gated") else "none"))
    return StackConfig(
        channels=table["channels"],
        head_channels=head["out_channels"],
        kernel_sizes=table.get("kernel_sizes") or (table["kernel_size"],) * count,
        dilations=table["dilations"],
        activation=_activation(_only(table["activation"])),
        gated={"gated": True, "none": False}[gating],
        head_kernel_size=head["kernel_size"],
        head_bias=head["bias"],
    )


def _check_plain(table: Mapping[str, Any]) -> None:
    """Raise ValueError for what is switched on and not known here."""
    if table.get("condition_size", 1) != 1:
        raise ValueError(f"condition_size {table['condition_size']}, where only audio is known")
    if table.get("bottleneck", table["channels"]) != table["channels"]:
        raise ValueError("a bottleneck of other channels is not known here")
    for name in ("groups_input", "groups_input_mixin"):
        if table.get(name, 1) != 1:
            raise ValueError(f"{name} {table[name]} is not known here")
    for name in (*_FILMS, "head1x1"):
        if (table.get(name) or {}).get("active"):
            raise ValueError(f"{name!r} is not known here")
    inner = table.get("layer1x1") or {"active": True}
    if not inner["active"] or inner.get("groups", 1) != 1:
        raise ValueError("layers without their 1x1 convolution, or in groups, are not known here")
    if _only(table.get("secondary_activation")) not in (None, "Sigmoid", {"type": "Sigmoid"}):
        raise ValueError("gates other than a sigmoid are not known here")


def _only(value: Any) -> Any:
    """Return the one value of a list that has it for each layer, or ``value`` itself."""
    if not isinstance(value, list):
        return value
    if any(item != value[0] for item in value):
        raise ValueError(f"layers that differ in kind ({str(value)[:100]}) are not known here")
    return value[0]


def _activation(value: Any) -> Any:
    name, slope = (value, LEAK)
    if isinstance(value, Mapping):
        name, slope = value["type"], value.get("negative_slope", LEAK)
    if name not in _FROM_ACTIVATION or (name == "LeakyReLU" and slope != LEAK):
        raise ValueError(f"the activation {str(value)[:100]} is not known here")
    return _FROM_ACTIVATION[name]


def _checkpoint(
    architecture: str,
    config: BaseModel,
    state: Mapping[str, Tensor],
    table: Mapping[str, Any],
    path: Path,
) -> Checkpoint:
    return Checkpoint(architecture, config, state, _header(config, table, path), path)


def _header(config: BaseModel, table: Mapping[str, Any], path: Path) -> CheckpointHeader:
    training: dict[str, Any] = {"imported_from": path.name}
    if metadata := plain_metadata(table.get("metadata")):
        training["metadata"] = metadata
    return CheckpointHeader(
        format_version=EFFECT_VERSION,
        architecture="effect-rnn" if isinstance(config, EffectRNNConfig) else "nam-wavenet",
        config=config.model_dump(mode="json"),
        knobs=(),
        sample_rate=_sample_rate(table),
        training=training,
    )
