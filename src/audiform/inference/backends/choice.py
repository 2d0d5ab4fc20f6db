"""Which backend and precision a network runs in: as asked for, or the fastest that is right.

``auto`` compares with torch in float32 on one made-up segment: a candidate must keep
:data:`MIN_SIGNAL_TO_ERROR_DB` on the stems and take less processor time. The first that does,
in the order of likely speed, is taken. The answer is kept beside the compiled networks, so that
it is found once for a network, a machine and a version, and results stay reproducible there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from audiform.errors import ConfigError
from audiform.inference.backends.compiled_cache import CompiledCache
from audiform.inference.backends.cuda_graphs import CudaGraphBackend
from audiform.inference.backends.excerpt import music
from audiform.inference.backends.openvino import (
    ConversionError,
    OpenVinoBackend,
    has_openvino,
    openvino_precisions,
)
from audiform.inference.backends.torch_eager import Precision, TorchBackend, torch_precisions
from audiform.protocols import Analysis, Backend, SeparationModel

log = logging.getLogger(__name__)

BackendName = Literal["torch", "openvino"]

#: Below it, what a faster precision changes could be heard or measured.
MIN_SIGNAL_TO_ERROR_DB = 35.0

CANNOT_CONVERT = "OpenVINO cannot take this network, going on in torch: %s"


@dataclass(frozen=True)
class _Candidate:
    backend: BackendName
    precision: Precision


_REFERENCE = _Candidate("torch", "fp32")


@dataclass(frozen=True)
class ChosenBackend:
    """A backend, and the reason for it, for people to read."""

    backend: Backend
    reason: str

    def __str__(self) -> str:
        return f"{self.backend.name} in {self.backend.precision} ({self.reason})"


@dataclass(frozen=True)
class _Verdict:
    """What a comparison found: the winner, and its figures against torch in float32."""

    backend: BackendName
    precision: Precision
    reason: str


class BackendChooser:
    """Finds the backend of a network that is fed ``segment_samples`` at a time.

    ``backend`` and ``precision`` are names or "auto". ``identity`` is the checksum of the
    checkpoint; a network without one (an object in memory) runs in torch and float32 where the
    choice is left open. ``num_workers`` calls may run side by side. Raises :class:`ConfigError`
    for what this machine or installation does not have.
    """

    def __init__(
        self,
        model: SeparationModel,
        *,
        device: torch.device,
        segment_samples: int,
        backend: str = "auto",
        precision: str = "auto",
        identity: str | None = None,
        num_workers: int = 1,
        cache: CompiledCache | None = None,
    ) -> None:
        self._model = model
        self._device = device
        self._segment_samples = segment_samples
        self._wanted = backend, precision
        self._num_workers = num_workers
        self._cache = cache or CompiledCache()
        self._identity = None if identity is None else f"{identity} {_circumstances(device)}"
        check_names(backend, precision)
        self._candidates = list(self._possible())
        if not self._candidates:
            raise ConfigError(self._why_impossible())

    def choose(self) -> ChosenBackend:
        """Return the backend, ready to run."""
        if len(self._candidates) == 1 or "auto" not in self._wanted:
            return self._build(self._candidates[0], "as asked for")
        if self._identity is None and self._wanted[0] == "auto":
            return self._build(_REFERENCE, "a network in memory runs as it is")
        verdict = self._kept_verdict()
        if verdict is not None:
            return self._build(_Candidate(verdict.backend, verdict.precision), verdict.reason)
        verdict, backend = self._compare()
        if self._identity is not None:
            self._cache.write(self._verdict_key(), json.dumps(asdict(verdict)).encode())
        return ChosenBackend(backend, verdict.reason)

    def _possible(self) -> Iterator[_Candidate]:
        """List what was asked for and is there, in the order of likely speed."""
        backend, precision = self._wanted
        if self._device.type == "cpu" and backend != "torch" and has_openvino():
            for offered in openvino_precisions():
                if precision in ("auto", offered):
                    yield _Candidate("openvino", offered)
        if backend != "openvino":
            for offered in torch_precisions(self._device):
                if precision in ("auto", offered):
                    yield _Candidate("torch", offered)

    def _why_impossible(self) -> str:
        backend, precision = self._wanted
        if backend == "openvino" and self._device.type != "cpu":
            return (
                f"backend openvino was asked for on {self._device}, and it runs on the CPU; use "
                "--device cpu, or --backend torch"
            )
        if backend == "openvino" and not has_openvino():
            return (
                "backend openvino was asked for and is not installed; "
                'pip install "audiform[openvino]", or use --backend torch'
            )
        return (
            f"precision {precision} was asked for, which {self._device} does not calculate in "
            "here; use --precision auto or fp32"
        )

    def _kept_verdict(self) -> _Verdict | None:
        if self._identity is None:
            return None
        kept = self._cache.read(self._verdict_key())
        return None if kept is None else _Verdict(**json.loads(kept))

    def _verdict_key(self) -> str:
        return f"verdict {self._identity} {self._wanted} {self._segment_samples}"

    @torch.inference_mode()
    def _compare(self) -> tuple[_Verdict, Backend]:
        """Return the first candidate that is right and faster than torch in float32, or the last.

        The last one is torch in float32 itself, or what comes nearest to it of what was asked for.
        """
        log.info("finding out what runs the network fastest on this machine (once)")
        analysis = self._model.analyse(self._example())
        reference = TorchBackend(self._model, device=self._device)
        expected, reference_seconds = self._measure(reference, analysis)
        for candidate in self._candidates[:-1]:
            try:
                backend = self._make(candidate)
            except ConversionError as error:
                log.warning(CANNOT_CONVERT, error)
                break
            found, seconds = self._measure(backend, analysis)
            kept_db = signal_to_error_db(reference=expected, estimate=found)
            if kept_db >= MIN_SIGNAL_TO_ERROR_DB and seconds < reference_seconds:
                reason = (
                    f"auto: {reference_seconds / seconds:.1f}x the speed of torch in fp32, "
                    f"{kept_db:.0f} dB from it"
                )
                return _Verdict(candidate.backend, candidate.precision, reason), backend
        last = self._candidates[-1]
        chosen = self._build(last, "auto: nothing faster here is as exact")
        return _Verdict(last.backend, last.precision, chosen.reason), chosen.backend

    def _example(self) -> Tensor:
        spec = self._model.spec
        return music(
            audio_channels=spec.audio_channels,
            num_samples=self._segment_samples,
            sample_rate=spec.sample_rate,
        ).to(self._device)

    def _measure(self, backend: Backend, analysis: Analysis) -> tuple[Tensor, float]:
        """Return the stems and the seconds of a second run; the first one warms up.

        On a CPU these are seconds of the processor, which a busy machine does not distort.
        """
        backend(*analysis.inputs)
        started = self._clock()
        outputs = backend(*analysis.inputs)
        seconds = self._clock() - started
        return self._model.synthesise(outputs, analysis).float().cpu(), seconds

    def _clock(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.perf_counter() if self._device.type == "mps" else time.process_time()

    def _build(self, wanted: _Candidate, reason: str) -> ChosenBackend:
        try:
            return ChosenBackend(self._make(wanted), reason)
        except ConversionError as error:
            log.warning(CANNOT_CONVERT, error)
            return ChosenBackend(self._make(_REFERENCE), "OpenVINO cannot take this network")

    def _make(self, wanted: _Candidate) -> Backend:
        if wanted.backend == "torch":
            kind = CudaGraphBackend if self._device.type == "cuda" else TorchBackend
            return kind(self._model, device=self._device, precision=wanted.precision)
        with torch.inference_mode():
            inputs = self._model.analyse(self._example()).inputs
        return OpenVinoBackend(
            self._model,
            inputs,
            precision=wanted.precision,
            identity=self._identity,
            num_requests=self._num_workers,
            cache=self._cache,
        )


def check_names(backend: str, precision: str) -> None:
    """Raise :class:`ConfigError` for a backend or a precision that does not exist."""
    if backend not in ("auto", "torch", "openvino"):
        raise ConfigError(f"backend {backend!r} was asked for; use auto, torch or openvino")
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise ConfigError(f"precision {precision!r} was asked for; use auto, fp32, bf16 or fp16")


def signal_to_error_db(*, reference: Tensor, estimate: Tensor) -> float:
    """Return the power of ``reference`` over that of the difference, in dB; all stems at once."""
    error = (reference - estimate).double().square().sum()
    if not torch.isfinite(error):
        return float("-inf")
    power = reference.double().square().sum()
    return float(10 * torch.log10(power.clamp_min(1e-30) / error.clamp_min(1e-30)))


def _circumstances(device: torch.device) -> str:
    """Return what a compiled network and a choice depend on besides the weights."""
    openvino = metadata.version("openvino") if has_openvino() else "-"
    return f"{torch.__version__} {openvino} {_device_name(device)} {_code_digest()}"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{device.type} {capability} {torch_precisions(device)} {torch.get_num_threads()}"


@cache
def _code_digest() -> str:
    """Return a checksum of the code that a network is made of, and of this choice."""
    package = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for folder in ("dsp", "inference/backends", "models", "nn"):
        for path in sorted((package / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
