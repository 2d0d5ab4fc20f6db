"""Our own checkpoint file: safetensors with a JSON header (``docs/format.md``).

Nothing in it is code, and nothing of it is guessed: an unknown architecture, a newer
version, an unknown field, a missing or an unknown tensor are errors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from audiform import models
from audiform.checkpoints.header import (
    ADAPTER_KEY,
    EFFECT_VERSION,
    FORMAT_VERSION,
    METADATA_KEY,
    PACKED_VERSION,
    PLAIN_VERSION,
    CheckpointHeader,
    Licence,
)
from audiform.checkpoints.packed_weights import pack_state, unpack_state
from audiform.checkpoints.safetensors_metadata import read_safetensors_metadata
from audiform.errors import CheckpointError
from audiform.knob import Knob
from audiform.protocols import EffectSpec

#: What a network may allocate while it is built, besides its weights: windows, tables.
BUILDING_BYTES = 256 * 2**20

#: How many names an error message lists before it only counts.
LISTED = 10


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: what it is, how it is configured, its weights.

    ``path`` is the file that it was read from, or None.
    """

    architecture: str
    config: BaseModel
    state: Mapping[str, Tensor]
    header: CheckpointHeader
    path: Path | None = None


def parse_config(
    architecture: str, values: Mapping[str, Any], *, path: Path | None = None
) -> BaseModel:
    """Return the configuration object of ``architecture``, strictly validated."""
    entry = models.MODELS.get(architecture)
    if entry is None:
        known = ", ".join(sorted(models.MODELS)) or "none"
        raise CheckpointError(
            f"holds a model of the architecture {architecture!r}, and this version of audiform "
            f"knows {known}; install a newer audiform",
            path=path,
        )
    try:
        return entry.config.model_validate(values)
    except ValidationError as error:
        raise CheckpointError(
            f"has a configuration that {architecture!r} does not accept: {_problems(error)}; "
            "it was written by another version of audiform, or by hand: correct it there",
            path=path,
        ) from error


def read_header(path: str | Path) -> CheckpointHeader:
    """Return the header of ``path`` without reading its tensors."""
    path = Path(path)
    metadata = read_safetensors_metadata(path)
    text = metadata.get(METADATA_KEY)
    if text is None and ADAPTER_KEY in metadata:
        raise CheckpointError(
            "is an adapter, not a checkpoint; put it into the one that it was trained on with "
            "`audiform models merge ADAPTER --base NAME -o FILE`",
            path=path,
        )
    if text is None:
        raise CheckpointError(
            f"has no {METADATA_KEY!r} entry in its metadata, so it is not a checkpoint of "
            "audiform; convert it with `audiform models import FILE -o FILE`",
            path=path,
        )
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"has a header that is no JSON ({error}); the file is damaged: fetch it again",
            path=path,
        ) from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(
            f"has format version {version}, and this version of audiform reads up to "
            f"{FORMAT_VERSION}; install a newer audiform",
            path=path,
        )
    if type(version) is not int or version < 1:
        raise CheckpointError(
            f"has the format version {version!r} where a whole number from 1 to "
            f"{FORMAT_VERSION} belongs; write the file anew with audiform",
            path=path,
        )
    try:
        return CheckpointHeader.model_validate(values)
    except ValidationError as error:
        raise CheckpointError(
            f"has a header that breaks the format: {_problems(error)}; write the file anew "
            "with audiform",
            path=path,
        ) from error


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of our own format; its floating-point tensors come as float32.

    Packed weights are unpacked: nothing but the header tells that they were.
    """
    path = Path(path)
    header = read_header(path)
    config = parse_config(header.architecture, header.config, path=path)
    state = read_tensors(path)
    if header.quantisation is not None:
        state = unpack_state(state, header.quantisation, path=path)
    return Checkpoint(header.architecture, config, state, header, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, floating-point ones as float32."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: as_float32(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"cannot be read as safetensors ({error}); it may be a part of a download: "
            "fetch it again",
            path=path,
        ) from error


def as_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` as float32 when it is floating-point, else as it is."""
    return tensor.float() if tensor.is_floating_point() else tensor


def is_half_precise(state: Mapping[str, Tensor]) -> bool:
    """Tell whether float16 holds all of ``state`` exactly."""
    return all(
        torch.equal(tensor.half().to(tensor.dtype), tensor)
        for tensor in state.values()
        if tensor.is_floating_point()
    )


def write_checkpoint(
    path: str | Path,
    *,
    architecture: str,
    config: BaseModel,
    state: Mapping[str, Tensor],
    sources: Iterable[str] = (),
    knobs: Iterable[Knob] | None = None,
    sample_rate: int,
    licence: Licence | None = None,
    scores: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    half: bool = False,
    bits: Mapping[str, Tensor] | None = None,
    group_size: int = 8,
) -> Path:
    """Write a checkpoint: aside first, then under its name, so that no half file has it.

    ``sources`` are a separator's; an effect has ``knobs`` instead, or an empty list of them.
    ``half`` stores floating-point tensors as float16 (half the size; they are read back as
    float32); a weight that float16 cannot hold is an error. ``bits`` packs the tensors that
    it names: for each group of ``group_size`` consecutive weights, how many bits a weight
    gets (1 to 16). Returns the path.
    """
    path = Path(path)
    quantisation = None
    if bits:
        state, quantisation = pack_state(state, bits, group_size=group_size, path=path)
    try:
        header = CheckpointHeader(
            format_version=_version(packed=quantisation is not None, effect=knobs is not None),
            architecture=architecture,
            config=config.model_dump(mode="json"),
            sources=tuple(sources),
            knobs=None if knobs is None else _as_written(knobs),
            sample_rate=sample_rate,
            licence=licence or Licence(),
            scores=dict(scores or {}),
            training=dict(training or {}),
            quantisation=quantisation,
        )
        text = json.dumps(header.model_dump(mode="json"), allow_nan=False, sort_keys=True)
    except ValueError as error:
        raise CheckpointError(
            f"cannot be written: its header does not fit the format ({error}); scores and "
            "training must hold plain finite values",
            path=path,
        ) from error
    tensors = {name: _stored(name, tensor, half=half, path=path) for name, tensor in state.items()}
    write_aside(path, save(tensors, metadata={METADATA_KEY: text}))
    return path


def _version(*, packed: bool, effect: bool) -> int:
    """Return the oldest version of the format that has what is used."""
    if effect:
        return EFFECT_VERSION
    return PACKED_VERSION if packed else PLAIN_VERSION


def _as_written(knobs: Iterable[Knob]) -> tuple[dict[str, Any], ...]:
    return tuple(knob.model_dump(mode="json") for knob in knobs)


def write_aside(path: Path, content: bytes) -> None:
    """Write ``content`` to ``<name>.part``, flush it to the disk, and rename it to ``path``."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot be written: {error.strerror or error}; check the folder and the free space",
            path=path,
        ) from error


def build_model(checkpoint: Checkpoint) -> nn.Module:
    """Return the network of ``checkpoint`` with its weights, in eval mode.

    Strict: every parameter and buffer must be there in its shape, and nothing else. A
    configuration that asks for far more memory than the file's own tensors take is refused
    while it is built. The global random generator is left as it was.
    """
    held_bytes = sum(tensor.nbytes for tensor in checkpoint.state.values())
    model = build_untrained(
        checkpoint.architecture,
        checkpoint.config,
        limit_bytes=2 * held_bytes + BUILDING_BYTES,
        path=checkpoint.path,
    )
    _check_spec(model, checkpoint)
    _check_state(model.state_dict(), checkpoint)
    model.load_state_dict(dict(checkpoint.state), strict=True)
    return model.eval()


def build_untrained(
    architecture: str, config: BaseModel, *, limit_bytes: int, path: Path | None = None
) -> nn.Module:
    """Return a network without weights that may allocate ``limit_bytes`` while it is built.

    What would be drawn at random is left as it comes. The global random generator is left as it
    was.
    """
    network = models.MODELS[architecture].network
    try:
        with torch.random.fork_rng(devices=[]), _AllocationLimit(limit_bytes):
            model: nn.Module = network(config)
    except (RuntimeError, MemoryError) as error:
        raise CheckpointError(
            f"has a configuration of which no {architecture!r} can be built: {error}; "
            "use the file as it was released",
            path=path,
        ) from error
    return model


class _AllocationLimit(TorchFunctionMode):
    """Within it, new tensors may take so many bytes in all; then comes a MemoryError.

    Nothing is drawn at random: weights come from the file, and drawing takes as long as reading.

    The outline on torch's "meta" device would be the exact check, but takes a second to import.
    """

    _NEW = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)

    _DRAWN = (Tensor.uniform_, Tensor.normal_, nn.init.kaiming_uniform_)

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self.left_bytes = limit_bytes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what ``func`` returns, if it makes tensors."""
        if func in self._DRAWN:
            return args[0] if args else kwargs["tensor"]
        result = func(*args, **(kwargs or {}))
        if func in self._NEW:
            self.left_bytes -= result.nbytes
            if self.left_bytes < 0:
                raise MemoryError("it asks for far more memory than its tensors take")
        return result


def _check_spec(model: Any, checkpoint: Checkpoint) -> None:
    header, spec = checkpoint.header, model.spec
    effect = isinstance(spec, EffectSpec)
    stated: tuple[Any, int] = (header.knobs if effect else header.sources, header.sample_rate)
    built = (_as_written(spec.knobs) if effect else tuple(spec.sources), spec.sample_rate)
    if stated != built:
        raise CheckpointError(
            f"says it has the {'knobs' if effect else 'sources'} {stated[0]} at {stated[1]} Hz, "
            f"but its configuration gives {built[0]} at {built[1]} Hz; write the file anew",
            path=checkpoint.path,
        )


def _check_state(expected: Mapping[str, Tensor], checkpoint: Checkpoint) -> None:
    given = checkpoint.state
    problems = []
    if missing := [name for name in expected if name not in given]:
        problems.append(f"missing {listing(missing)}")
    if unknown := [name for name in given if name not in expected]:
        problems.append(f"unknown {listing(unknown)}")
    misshaped = [
        f"{name} is {tuple(given[name].shape)} where {tuple(expected[name].shape)} belongs"
        for name in expected
        if name in given and given[name].shape != expected[name].shape
    ]
    if misshaped:
        problems.append(f"mis-shaped {listing(misshaped)}")
    if problems:
        raise CheckpointError(
            f"its tensors do not fit its configuration of {checkpoint.architecture!r}: "
            f"{'; '.join(problems)}. The file is of another version or was changed: "
            "use the file as it was released",
            path=checkpoint.path,
        )


def listing(names: list[str]) -> str:
    """Return the first names and how many there are: ``3 (a, b, c)``."""
    shown = ", ".join(names[:LISTED])
    more = len(names) - LISTED
    return f"{len(names)} ({shown}{f' and {more} more' if more > 0 else ''})"


def _problems(error: ValidationError) -> str:
    return listing(
        [
            f"{'.'.join(map(str, problem['loc'])) or 'header'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
    )


def _stored(name: str, tensor: Tensor, *, half: bool, path: Path) -> Tensor:
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.contiguous().clone()
    stored = tensor.to(torch.float16 if half else torch.float32)
    if half and not torch.equal(torch.isfinite(stored), torch.isfinite(tensor)):
        raise CheckpointError(
            f"cannot be written in half precision: {name} holds {tensor.abs().max().item():g}, "
            "and float16 ends at 65504; write it with half=False",
            path=path,
        )
    return stored.contiguous().clone()
