"""OpenVINO on a CPU: the network as one compiled graph, its operations fused.

Conversion traces the network for one shape and takes seconds; the compiled network is kept in
the user's cache and read from there ever after. OpenVINO is the extra ``audiform[openvino]``.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import sys
import threading
import warnings
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from audiform.inference.backends.compiled_cache import CompiledCache
from audiform.inference.backends.torch_eager import Precision, TorchBackend
from audiform.protocols import Backend, SeparationModel

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

#: Our precisions in OpenVINO's words.
_HINTS: dict[str, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}

#: What OpenVINO calls the precisions that a processor calculates in natively, fastest first.
_CAPABILITIES: tuple[tuple[str, Precision], ...] = (("BF16", "bf16"), ("FP16", "fp16"))


class ConversionError(Exception):
    """A network cannot be converted; the text says why. Callers go on in torch."""


def has_openvino() -> bool:
    """Tell whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec("openvino") is not None


@cache
def _library() -> ModuleType:
    """Import OpenVINO without its reports: to import it sends one over the network.

    Where ``openvino_telemetry`` cannot be imported, OpenVINO works without it.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("openvino")
        finally:
            del sys.modules["openvino_telemetry"]
    return importlib.import_module("openvino")


@cache
def _runtime() -> openvino.Core:
    return _library().Core()


def openvino_precisions() -> tuple[Precision, ...]:
    """Return what this processor calculates in natively, fastest first."""
    capabilities = _runtime().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    native: list[Precision] = [ours for theirs, ours in _CAPABILITIES if theirs in capabilities]
    return (*native, "fp32")


class OpenVinoBackend:
    """Runs ``core`` compiled for ``example_inputs``, which hold one segment.

    Batches go through it one by one. Other lengths go to ``otherwise``: the end of a track in
    models that take short segments, or a whole track as one segment. ``identity`` names
    the weights and is the key of the cache; None keeps nothing. ``num_requests`` calls may run
    side by side. Raises :class:`ConversionError`.
    """

    name = "openvino"

    def __init__(
        self,
        model: SeparationModel,
        example_inputs: tuple[Tensor, ...],
        *,
        precision: Precision,
        identity: str | None = None,
        num_requests: int = 1,
        otherwise: Backend | None = None,
        cache: CompiledCache | None = None,
    ) -> None:
        self.precision: Precision = precision
        self._otherwise = otherwise or TorchBackend(model, device=torch.device("cpu"))
        self._shapes = [tensor.shape for tensor in example_inputs]
        self._lock = threading.Lock()
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": num_requests,
        }
        self._compiled = _compiled(
            model, example_inputs, settings, identity=identity, cache=cache or CompiledCache()
        )
        self._idle: list[Any] = []

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network alone."""
        if any(
            given.shape[1:] != shape[1:] for given, shape in zip(inputs, self._shapes, strict=True)
        ):
            return self._otherwise(*inputs)
        items = [self._run([tensor[i : i + 1] for tensor in inputs]) for i in range(len(inputs[0]))]
        if len(items) == 1:
            return items[0]
        return tuple(torch.cat(parts) for parts in zip(*items, strict=True))

    def _run(self, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        as_openvino = _library().Tensor
        with self._lock:
            request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        outputs = [torch.empty(*port.shape) for port in self._compiled.outputs]
        for index, tensor in enumerate(inputs):
            array = tensor.float().contiguous().numpy()
            request.set_input_tensor(index, as_openvino(array, shared_memory=True))
        for index, tensor in enumerate(outputs):
            # written in place: no copy afterwards
            request.set_output_tensor(index, as_openvino(tensor.numpy(), shared_memory=True))
        request.infer()
        with self._lock:
            self._idle.append(request)
        return tuple(outputs)


def _compiled(
    model: SeparationModel,
    example_inputs: tuple[Tensor, ...],
    settings: dict[str, Any],
    *,
    identity: str | None,
    cache: CompiledCache,
) -> openvino.CompiledModel:
    """Take the compiled network from the cache, or convert, compile and keep it."""
    if identity is None:
        return _compile(convert(model, example_inputs), settings)
    shapes = [tuple(tensor.shape) for tensor in example_inputs]
    key = f"{identity} {shapes} {settings}"
    if (kept := _from_cache(cache, key, settings)) is not None:
        return kept
    log.info("preparing the network for this machine (once; kept in %s)", cache.folder)
    compiled = _compile(convert(model, example_inputs), settings)
    stream = io.BytesIO()
    compiled.export_model(stream)
    if not cache.write(key, stream.getvalue()):
        log.warning("the prepared network cannot be kept in %s, so that every run prepares it "
                    "again; make room there, or set AUDIFORM_CACHE", cache.folder)  # fmt: skip
    return compiled


def _from_cache(
    cache: CompiledCache, key: str, settings: dict[str, Any]
) -> openvino.CompiledModel | None:
    content = cache.read(key)
    if content is None:
        return None
    try:
        # bytes are copied: of a tensor that shares them the network would go on reading
        return _runtime().import_model(content, "CPU", settings)
    except Exception as error:  # OpenVINO raises RuntimeError and its kin without promise
        log.warning("the prepared network in %s cannot be used, preparing it again: %s",
                    cache.path(key), error)  # fmt: skip
        return None


def convert(model: SeparationModel, example_inputs: tuple[Tensor, ...]) -> openvino.Model:
    """Return ``core`` as an OpenVINO graph for inputs of these shapes.

    Not by ``openvino.convert_model``: that reports its use over the network, from processes that
    it forks, and can hang in that.
    """
    library = _library()
    try:
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer: shapes are constants here, on purpose
            # clones: a tracer takes no tensors of inference mode
            copies = tuple(tensor.float().clone() for tensor in example_inputs)
            traced = torch.jit.trace(_Core(model).eval(), copies, check_trace=False)
            decoder = TorchScriptPythonDecoder(traced, example_input=copies)
            frontend = FrontEndManager().load_by_framework("pytorch")
            graph = frontend.convert(frontend.load(decoder))
        for parameter in graph.get_parameters():
            parameter.set_element_type(library.Type.f32)
        shapes = [list(tensor.shape) for tensor in copies]
        graph.reshape(dict(zip(graph.inputs, shapes, strict=True)))
    except Exception as error:  # whatever an exotic network makes the tracer or OpenVINO raise
        raise ConversionError(_first_line(error)) from error
    return graph


class _Core(nn.Module):
    """The core of a network as a module, which the tracer wants."""

    def __init__(self, model: SeparationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.model.core(*inputs)


def _compile(graph: openvino.Model, settings: dict[str, Any]) -> openvino.CompiledModel:
    try:
        return _runtime().compile_model(graph, "CPU", settings)
    except Exception as error:
        raise ConversionError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
