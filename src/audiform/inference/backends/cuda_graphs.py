"""Torch on a CUDA device, its kernels captured once and then launched as one graph.

A network of hundreds of small kernels waits for the host between them; a graph does not.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audiform.inference.backends.torch_eager import Precision, TorchBackend
from audiform.protocols import SeparationModel

log = logging.getLogger(__name__)

#: Runs before a capture, in which libraries choose their kernels and allocate what they keep.
WARM_UP_RUNS = 3

#: Shapes of which graphs are kept; each holds its own memory. Others run without one.
MAX_GRAPHS = 4


@dataclass(frozen=True)
class _Captured:
    graph: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class CudaGraphBackend(TorchBackend):
    """Captures ``core`` for each shape that comes, and replays it.

    A network that cannot be captured (one that reads values back to the host) runs without a
    graph from then on, and a warning says so once.
    """

    name = "torch, CUDA graphs"

    def __init__(
        self, model: SeparationModel, *, device: torch.device, precision: Precision = "fp32"
    ) -> None:
        super().__init__(model, device=device, precision=precision)
        self._captured: dict[tuple[tuple[int, ...], ...], _Captured] = {}
        self._can_capture = True

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network alone; the outputs are the caller's to keep."""
        captured = self._find(inputs)
        if captured is None:
            return super().__call__(*inputs)
        for held, given in zip(captured.inputs, inputs, strict=True):
            held.copy_(given)
        captured.graph.replay()
        return tuple(output.clone() for output in captured.outputs)

    def _find(self, inputs: tuple[Tensor, ...]) -> _Captured | None:
        shapes = tuple(tuple(tensor.shape) for tensor in inputs)
        if shapes not in self._captured and self._can_capture and len(self._captured) < MAX_GRAPHS:
            try:
                self._captured[shapes] = self._capture(inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._can_capture = False
                log.warning("the network cannot be captured as a CUDA graph, so it runs without "
                            "one: %s", error)  # fmt: skip
        return self._captured.get(shapes)

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Captured:
        held = tuple(tensor.clone() for tensor in inputs)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                super().__call__(*held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = super().__call__(*held)
        return _Captured(graph, held, outputs)
