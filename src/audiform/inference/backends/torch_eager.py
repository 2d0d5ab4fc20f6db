"""Torch as it is: the reference in float32, or its kernels in half precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from audiform.protocols import SeparationModel

#: What a network may be calculated in. bf16 has the range of fp32 and 8 bits; fp16 has 11 bits
#: and overflows at 65504.
Precision = Literal["fp32", "bf16", "fp16"]

HALF_TYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend:
    """Runs ``core`` operation by operation.

    In half precision matrix products and convolutions take half-precision numbers; norms, sums
    and what else is delicate stays in float32 (torch's autocast).
    """

    name = "torch"

    def __init__(
        self, model: SeparationModel, *, device: torch.device, precision: Precision = "fp32"
    ) -> None:
        self._model = model
        self._device_type = device.type
        self.precision: Precision = precision

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network alone."""
        with self._casting():
            outputs = self._model.core(*inputs)
        return tuple(output.float() for output in outputs)

    def _casting(self) -> AbstractContextManager[None]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self._device_type, dtype=HALF_TYPES[self.precision])


def torch_precisions(device: torch.device) -> tuple[Precision, ...]:
    """Return what torch calculates in without emulation on ``device``, fastest first."""
    if device.type == "cuda":
        return ("fp16", "bf16", "fp32") if torch.cuda.is_bf16_supported() else ("fp16", "fp32")
    if device.type == "mps":
        return ("fp16", "fp32")
    return ("bf16", "fp32") if _cpu_has_bf16() else ("fp32",)


def _cpu_has_bf16() -> bool:
    """Tell whether the processor has instructions for bf16; torch emulates them elsewhere."""
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
