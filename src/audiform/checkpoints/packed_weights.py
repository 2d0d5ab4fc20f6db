"""Our own packed weights: each group of a tensor has as many bits as it is worth.

The layout is specified in ``docs/format.md``: levels in one tensor of bytes, the number of bits
of each group in another, shape and range in the header. A weight is
``level / (2**bits - 1) * (max - min) + min``. What is read is float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiform.checkpoints.header import PackedWeight, Quantisation
from audiform.errors import CheckpointError

LEVELS_SUFFIX = ":levels"
BITS_SUFFIX = ":bits"

MAX_BITS = 16

#: Numbers that are packed at a time; their bits take 16 times as many bytes in memory.
_CHUNK = 2**20

_Numbers = NDArray[np.uint16]
_Bytes = NDArray[np.uint8]


def pack_numbers(numbers: _Numbers, bits: int) -> _Bytes:
    """Return ``numbers`` with ``bits`` bits each, one after the other, the lowest bit first.

    The last byte is filled up with zeros.

    >>> pack_numbers(np.array([1, 2, 3], np.uint16), 2).tolist()
    [57]
    """
    places = np.arange(bits, dtype=np.uint16)
    chunks = [
        np.packbits((numbers[start : start + _CHUNK, None] >> places & 1).astype(np.uint8),
                    bitorder="little")
        for start in range(0, len(numbers), _CHUNK)
    ]  # fmt: skip
    return np.concatenate(chunks) if chunks else np.zeros(0, np.uint8)


def unpack_numbers(packed: _Bytes, bits: int, count: int) -> _Numbers:
    """Return ``count`` numbers that :func:`pack_numbers` packed; ``packed`` must hold them.

    >>> unpack_numbers(np.array([57], np.uint8), 2, 3).tolist()
    [1, 2, 3]
    """
    weights = (1 << np.arange(bits)).astype(np.uint16)
    numbers = np.empty(count, np.uint16)
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        piece = packed[start * bits // 8 :]
        ones = np.unpackbits(piece, count=size * bits, bitorder="little")
        numbers[start : start + size] = ones.reshape(size, bits) @ weights
    return numbers


def packed_bytes(count: int, bits: int) -> int:
    """Return how many bytes ``count`` numbers take."""
    return -(-count * bits // 8)


def packed_weight_bytes(bits: Tensor, *, group_size: int) -> int:
    """Return how many bytes a tensor takes whose groups have these ``bits``, its header apart."""
    widths, counts = np.unique(bits.numpy(), return_counts=True)
    levels = sum(
        packed_bytes(int(count) * group_size, int(width))
        for width, count in zip(widths, counts, strict=True)
    )
    return levels + packed_bytes(len(bits), int(widths[-1] - widths[0]).bit_length())


def pack_state(
    state: Mapping[str, Tensor],
    bits: Mapping[str, Tensor],
    *,
    group_size: int,
    path: Path | None = None,
) -> tuple[dict[str, Tensor], Quantisation]:
    """Return ``state`` with the tensors named in ``bits`` packed, and how they are.

    ``bits`` gives the number of bits, 1 to 16, of each group of ``group_size`` consecutive
    weights; the last group may be a part of one.
    """
    tensors = {name: tensor for name, tensor in state.items() if name not in bits}
    packed = {}
    for name, group_bits in bits.items():
        weight = state.get(name)
        if weight is None or not weight.is_floating_point() or not bool(weight.isfinite().all()):
            raise CheckpointError(
                f"cannot be written: {name} is to be quantised and is no tensor of finite "
                "weights; leave it out of 'bits'",
                path=path,
            )
        levels, codes, packed[name] = _packed(weight, group_bits, group_size, name, path)
        tensors[name + LEVELS_SUFFIX] = levels
        if codes is not None:
            tensors[name + BITS_SUFFIX] = codes
    return tensors, Quantisation(group_size=group_size, weights=packed)


def quantised(weight: Tensor, bits: Tensor, *, group_size: int) -> Tensor:
    """Return the float32 weights that are read back when ``weight`` is packed with ``bits``."""
    low, high = _range(weight)
    widths = bits.detach().cpu().numpy()
    levels = _levels(_grouped(weight, group_size), widths, low, high)
    values = np.empty(levels.shape, np.float32)
    for width in np.unique(widths):
        chosen = widths == width
        values[chosen] = _table(int(width), low, high)[levels[chosen]]
    return torch.from_numpy(values.reshape(-1)[: weight.numel()]).reshape(weight.shape)


def unpack_state(
    tensors: Mapping[str, Tensor], quantisation: Quantisation, *, path: Path
) -> dict[str, Tensor]:
    """Return ``tensors`` with the packed ones replaced by the float32 weights they stand for.

    Every size is compared with the header before anything is unpacked.
    """
    state = dict(tensors)
    for name, packed in quantisation.weights.items():
        if name in tensors:
            raise _damaged(f"{name} is there both packed and not", path)
        levels = _taken(state, name + LEVELS_SUFFIX, path)
        codes = None
        if packed.least_bits != packed.most_bits:
            codes = _taken(state, name + BITS_SUFFIX, path)
        state[name] = _unpacked(levels, codes, packed, quantisation.group_size, name, path)
    return state


def _damaged(problem: str, path: Path) -> CheckpointError:
    return CheckpointError(
        f"has packed weights that do not fit its header: {problem}; use the file as it was "
        "released, or write it anew",
        path=path,
    )


def _taken(state: dict[str, Tensor], key: str, path: Path) -> _Bytes:
    tensor = state.pop(key, None)
    if tensor is None or tensor.dtype != torch.uint8 or tensor.ndim != 1:
        found = "missing" if tensor is None else f"{tuple(tensor.shape)} of {tensor.dtype}"
        raise _damaged(f"{key} is {found} where a row of bytes belongs", path)
    raw: _Bytes = tensor.numpy()
    return raw


def _grouped(weight: Tensor, group_size: int) -> NDArray[np.float64]:
    """Return the weights in rows of a group; the last row is filled up with the smallest."""
    flat = weight.detach().cpu().double().reshape(-1).numpy()
    missing = -len(flat) % group_size
    return np.pad(flat, (0, missing), constant_values=flat.min()).reshape(-1, group_size)


def _range(weight: Tensor) -> tuple[float, float]:
    return float(weight.detach().min()), float(weight.detach().max())


def _levels(
    groups: NDArray[np.float64], bits: NDArray[np.int64], low: float, high: float
) -> _Numbers:
    share = (groups - low) / (high - low) if high > low else np.zeros_like(groups)
    return np.rint(share * (2.0**bits - 1.0)[:, None]).astype(np.uint16)


def _table(bits: int, low: float, high: float) -> NDArray[np.float32]:
    """Return the weight for each level of so many bits."""
    top = 2**bits - 1
    return (np.arange(top + 1) / top * (high - low) + low).astype(np.float32)


def _packed(
    weight: Tensor, group_bits: Tensor, group_size: int, name: str, path: Path | None
) -> tuple[Tensor, Tensor | None, PackedWeight]:
    bits = group_bits.detach().cpu().numpy().astype(np.int64)
    num_groups = -(-weight.numel() // group_size)
    if bits.shape != (num_groups,) or not weight.numel():
        raise CheckpointError(
            f"cannot be written: {name} has {num_groups} groups of {group_size} weights, and "
            f"bits for {bits.shape}; give one number for each group",
            path=path,
        )
    least, most = int(bits.min()), int(bits.max())
    if least < 1 or most > MAX_BITS:
        raise CheckpointError(
            f"cannot be written: {name} has groups of {least} to {most} bits; 1 to {MAX_BITS} "
            "can be written",
            path=path,
        )
    low, high = _range(weight)
    levels = _levels(_grouped(weight, group_size), bits, low, high)
    runs = [
        pack_numbers(levels[bits == width].reshape(-1), width) for width in range(least, most + 1)
    ]
    codes = None
    if most > least:
        offsets = (bits - least).astype(np.uint16)
        codes = torch.from_numpy(pack_numbers(offsets, (most - least).bit_length()))
    shape = tuple(weight.shape)
    about = PackedWeight(shape=shape, range=(low, high), least_bits=least, most_bits=most)
    return torch.from_numpy(np.concatenate(runs)), codes, about


def _unpacked(
    levels: _Bytes,
    codes: _Bytes | None,
    packed: PackedWeight,
    group_size: int,
    name: str,
    path: Path,
) -> Tensor:
    count = math.prod(packed.shape)
    num_groups = -(-count // group_size)
    # Before anything is allocated: no weight takes less than least_bits.
    if packed_bytes(count, packed.least_bits) > len(levels):
        raise _damaged(f"{name} is {packed.shape} and has {len(levels)} bytes of levels", path)
    bits = np.full(num_groups, packed.least_bits, np.uint16)
    if codes is not None:
        width = (packed.most_bits - packed.least_bits).bit_length()
        _check_size(codes, packed_bytes(num_groups, width), f"{name}{BITS_SUFFIX}", path)
        bits += unpack_numbers(codes, width, num_groups)
    if bits.max(initial=0) > packed.most_bits:
        raise _damaged(f"a group of {name} has {bits.max()} bits", path)
    counts = np.bincount(bits, minlength=MAX_BITS + 1) * group_size
    sizes = [packed_bytes(int(count), width) for width, count in enumerate(counts)]
    _check_size(levels, sum(sizes), f"{name}{LEVELS_SUFFIX}", path)
    low, high = packed.range
    values = np.empty((num_groups, group_size), np.float32)
    start = 0
    for width in range(packed.least_bits, packed.most_bits + 1):
        end = start + sizes[width]
        numbers = unpack_numbers(levels[start:end], width, int(counts[width]))
        values[bits == width] = _table(width, low, high)[numbers].reshape(-1, group_size)
        start = end
    return torch.from_numpy(values.reshape(-1)[:count].reshape(packed.shape).copy())


def _check_size(found: _Bytes, expected: int, key: str, path: Path) -> None:
    if len(found) != expected:
        raise _damaged(f"{key} has {len(found)} bytes where {expected} belong", path)
