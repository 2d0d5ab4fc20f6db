"""The step of an effect as a graph for other runtimes: torch's ``.pt2`` and ONNX.

Both take ``dry`` (1, 1, block), ``knobs`` (1, knob) in their own units, and the state as plain
tensors, and give ``wet`` and the next state. What a caller must know besides (the rate, the
knobs, with what the states begin) is JSON beside the graph, under :data:`METADATA_KEY`.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiform.checkpoints.file import Checkpoint, build_model, write_aside
from audiform.errors import ConfigError
from audiform.nn.learned_stft import LearnedSTFT
from audiform.protocols import EffectSpec, FollowsBeats

#: The name of what a file says about its graph.
METADATA_KEY = "audiform"

#: Length of a block where none is asked for, rounded up to what the network takes.
BLOCK_SAMPLES = 128

#: What the ONNX file needs of its runtime: operators of 2024.
OPSET = 20


class StepGraph(nn.Module):
    """A step with nothing implied: tensors in, tensors out, knobs in their units."""

    def __init__(self, network: Any, *, block_samples: int | None) -> None:
        super().__init__()
        spec: EffectSpec = network.spec
        self.block_samples = _block_samples(spec, block_samples)
        self.network = _plain(network)
        self.knobs = spec.knobs
        # Copies: tensors that are one and the same would become one input. Empty ones become none.
        self.rest = tuple(part.clone() for part in network.initial_state())
        self.used = [index for index, part in enumerate(self.rest) if part.numel()]

    def forward(self, dry: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Take ``dry``, ``knobs`` if there are any, states; return ``wet``, the next states."""
        knobs, states = dry.new_zeros(1, 0), others
        if self.knobs:
            knobs, *states = others  # type: ignore[assignment]
        whole = list(self.rest)
        for index, state in zip(self.used, states, strict=True):
            whole[index] = state
        wet, after = self.network.step(dry, self._positions(knobs), tuple(whole))
        return (wet, *(after[index] for index in self.used))

    def _positions(self, knobs: Tensor) -> Tensor:
        """Return where the knobs stand for the network."""
        parts = [
            knob.to_network(knobs[:, index : index + 1]) for index, knob in enumerate(self.knobs)
        ]
        return torch.cat(parts, dim=1) if parts else knobs

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Return an example of each input by its name; knobs at their defaults."""
        dry = 0.1 * torch.randn(
            1, 1, self.block_samples, generator=torch.Generator().manual_seed(0)
        )
        knobs = {"knobs": torch.tensor([[knob.default for knob in self.knobs]])}
        states = {f"state_{number}": self.rest[index] for number, index in enumerate(self.used)}
        return {"dry": dry} | (knobs if self.knobs else {}) | states

    @property
    def about(self) -> dict[str, Any]:
        """Return what a caller must know besides the tensors' shapes."""
        spec: EffectSpec = self.network.spec
        states = [self.rest[index] for index in self.used]
        return {
            "sample_rate": spec.sample_rate,
            "block_samples": self.block_samples,
            "latency_samples": spec.latency_samples,
            "knobs": [knob.model_dump(mode="json") for knob in self.knobs],
            "states": [
                {
                    "name": f"state_{number}",
                    "shape": list(state.shape),
                    "dtype": str(state.dtype).removeprefix("torch."),
                    "start": state.tolist() if state.any() else 0,
                }
                for number, state in enumerate(states)
            ],
        }


def export_torch(
    checkpoint: Checkpoint, path: str | Path, *, block_samples: int | None = None
) -> Path:
    """Write the step for ``torch.export.load``; return the path."""
    graph, path = _graph(checkpoint, block_samples), Path(path)
    content = io.BytesIO()
    about = {METADATA_KEY: json.dumps(graph.about)}
    with _quiet():
        torch.export.save(_exported(graph), content, extra_files=about)
    write_aside(path, content.getvalue())
    return path


def export_onnx(
    checkpoint: Checkpoint, path: str | Path, *, block_samples: int | None = None
) -> Path:
    """Write the step as ONNX; return the path. Needs the packages onnx and onnxscript.

    Raises :class:`ConfigError` for what ONNX cannot say.
    """
    onnx = _onnx()
    graph, path = _graph(checkpoint, block_samples), Path(path)
    names = list(graph.inputs)
    try:
        with _quiet():
            program: Any = torch.onnx.export(
                _exported(graph),
                input_names=names,
                output_names=["wet", *(f"next_{name}" for name in names if "state" in name)],
                opset_version=OPSET,
                custom_translation_table={torch.ops.aten.cummax.default: _running_maximum},
                dynamo=True,
                # What tidies graphs up takes a summand of 1e-9, the floor of a level, for nothing.
                optimize=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ConfigError(
            f"ONNX has no operator for a part of this {checkpoint.architecture!r} (linear "
            "equations of complex numbers, where it predicts a room); export it with --to torch"
        ) from error
    model = onnx.shape_inference.infer_shapes(program.model_proto)
    _cast_by_name(model.graph)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(graph.about)
    onnx.checker.check_model(model, full_check=True)
    write_aside(path, model.SerializeToString())
    return path


def _cast_by_name(graph: Any) -> None:
    """Name the type where a cast takes it from another value: ONNX Runtime warns of those."""
    known = {value.name: value for value in (*graph.value_info, *graph.input)}
    types = {name: value.type.tensor_type.elem_type for name, value in known.items()}
    types |= {constant.name: constant.data_type for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "CastLike" and node.input[1] in types:
            wanted = node.input.pop()
            node.op_type = "Cast"
            node.attribute.append(_onnx().helper.make_attribute("to", types[wanted]))


def _graph(checkpoint: Checkpoint, block_samples: int | None) -> StepGraph:
    if checkpoint.header.knobs is None:
        raise ConfigError(
            f"{checkpoint.architecture!r} is a separator, and only effects have a step; give the "
            "checkpoint of an effect"
        )
    network = build_model(checkpoint)
    if isinstance(network, FollowsBeats):
        raise ConfigError(
            f"{checkpoint.architecture!r} cuts and moves what it hears, which no graph of fixed "
            "shape does; play it with `audiform effect apply`"
        )
    graph = StepGraph(network, block_samples=block_samples).eval()
    return graph.requires_grad_(False)


def _block_samples(spec: EffectSpec, asked: int | None) -> int:
    multiple = spec.block_samples
    if asked is None:
        return -(-BLOCK_SAMPLES // multiple) * multiple
    if asked < 1 or asked % multiple:
        raise ConfigError(
            f"blocks of {asked} samples were asked for, and this effect takes multiples of "
            f"{multiple}; choose {-(-max(asked, 1) // multiple) * multiple}"
        )
    return asked


def _plain(network: Any) -> Any:
    """Return a copy whose weights stand for themselves: no linear equations in its graph."""
    made = copy.deepcopy(network)
    for name, part in list(made.named_children()):
        if isinstance(part, LearnedSTFT):
            setattr(made, name, part.freed())
    return made


def _exported(graph: StepGraph) -> torch.export.ExportedProgram:
    # With gradients, so that short blocks are not gathered: runtimes have dilated convolutions.
    with torch.enable_grad():
        return torch.export.export(graph, tuple(graph.inputs.values()))


def _running_maximum(values: Any, dim: int) -> Any:
    """Write torch's ``cummax`` along the last axis, its values, as maxima of shifted copies.

    ONNX has no such operator. Each round doubles how far back the maximum reaches.
    """
    from onnxscript import opset20

    op: Any = opset20
    length, axes, reach = values.shape[-1], len(values.shape), 1
    lowest = op.Constant(value=_onnx().helper.make_tensor("", values.dtype, [], [-math.inf]))
    start, end, axis = (op.Constant(value_ints=[number]) for number in (0, length, -1))
    while reach < length:
        before = [0] * (2 * axes)
        before[axes - 1] = reach
        padded = op.Pad(values, op.Constant(value_ints=before), lowest)
        values = op.Max(values, op.Slice(padded, start, end, axis))
        reach *= 2
    return values, values


def _onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"--to onnx was asked for, and {error.name} is not installed: "
            "pip install 'audiform[export]'"
        ) from error
    return onnx


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from telling what its exporter does and what else could be installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
