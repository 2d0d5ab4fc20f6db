"""Packed quantised weights of the published packages, unpacked to float32.

Two quantisers wrote them: uniform (one number of bits for all weights) and DiffQ (A. Défossez,
Y. Adi, G. Synnaeve, *Differentiable Model Compression via Pseudo Quantization Noise*,
arXiv:2104.09987: each group of a few weights has its own). A weight is a level between the
smallest and the largest of its tensor: ``level / (2**bits - 1) * (max - min) + min``.

The state holds no names and no shapes, so both are given: the network's parameters in the
published order (:mod:`audiform.checkpoints.published_order`). Files are not trusted: every
count in them must follow from the shapes, and is compared before anything is unpacked.

One thing is lost: DiffQ's writer leaves out groups of 15 bits, its maximum. What stood there
cannot be known; such weights are read as 0 (or the nearest value that the tensor may have),
which takes them out of their sums, and a warning counts them.
"""

from __future__ import annotations

import logging
import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiform.checkpoints.restricted_pickle import GlobalName
from audiform.errors import CheckpointError

logger = logging.getLogger(__name__)

UNIFORM = "diffq.uniform.UniformQuantizer"
DIFFQ = "diffq.diffq.DiffQuantizer"

#: Names of quantisers that a file may say; texts, never imported.
QUANTISERS = frozenset({UNIFORM, DIFFQ})

#: A packed number takes at least one bit, so no file unpacks to more than 32 times its size.
MAX_UNPACKED_RATIO = 32

#: The widest level that is read: float32 itself holds no more than 24 bits.
MAX_BITS = 16

#: Numbers in a block of the int64 layout, and their columns.
_BLOCK, _COLUMNS = 2048, 32

#: What the quantisers take where ``init_kwargs`` says nothing.
_DEFAULTS = {"bits": 8, "min_size": 0.01, "group_size": 8, "min_bits": 2, "max_bits": 15}

Levels = NDArray[np.uint16]


@dataclass(frozen=True)
class _Scheme:
    """How a state was quantised; all of it comes from its ``meta`` and is checked."""

    quantiser: str
    torch_pack: bool
    bits: int
    min_size: float
    group_size: int
    min_bits: int
    max_bits: int

    def is_quantised(self, count: int) -> bool:
        """Tell whether a parameter of ``count`` weights is: if it is larger than so many MB."""
        return count * 4 / 2**20 > self.min_size


def unpack_quantised(
    state: Mapping[Any, Any],
    shapes: Mapping[str, torch.Size],
    *,
    tensor: Callable[[Any], Tensor | None],
    path: Path,
) -> dict[str, Tensor]:
    """Return the float32 weights that a packed state stands for, by published name.

    ``shapes`` are the network's parameters in the published order. ``tensor`` turns a tensor
    as ``state`` holds it into one in memory, and anything else into None. Raises
    :class:`CheckpointError` naming ``path`` for whatever does not fit.
    """
    reader = _Reader(tensor, path, _scheme(state.get("meta"), path))
    return reader.read(state, shapes)


def _refused(problem: str, path: Path) -> CheckpointError:
    return CheckpointError(
        f"has quantised weights that cannot be unpacked: {problem}; use the file as it was "
        "released, or the version without _q in its name",
        path=path,
    )


def _scheme(meta: Any, path: Path) -> _Scheme:
    if not isinstance(meta, Mapping) or not isinstance(meta.get("init_kwargs", {}), Mapping):
        raise _refused("its 'meta' is no table", path)
    klass = meta.get("klass")
    quantiser = klass.name if isinstance(klass, GlobalName) else klass
    if not isinstance(quantiser, str) or quantiser not in QUANTISERS:
        raise _refused(f"the quantiser {reprlib.repr(quantiser)} is not known", path)
    if meta.get("packed") is not True:
        raise _refused("its levels are not packed", path)
    options = _DEFAULTS | dict(meta.get("init_kwargs", {}))
    if options.get("exclude"):
        raise _refused("it leaves out parameters by name ('exclude')", path)
    values = {name: options[name] for name in _DEFAULTS}
    for name, value in values.items():
        numbers = (int, float) if name == "min_size" else (int,)
        if type(value) not in numbers or not 0 <= value < 2**31:
            raise _refused(f"{name} = {reprlib.repr(value)} is out of range", path)
    if not 1 <= values["bits"] <= MAX_BITS or values["group_size"] < 1:
        raise _refused(f"{values['bits']} bits in groups of {values['group_size']}", path)
    if not 1 <= values["min_bits"] <= values["max_bits"] <= MAX_BITS:
        raise _refused(f"{values['min_bits']} to {values['max_bits']} bits", path)
    return _Scheme(quantiser, torch_pack=meta.get("torch_pack") is True, **values)


@dataclass(frozen=True)
class _Reader:
    """Reads one state; the three lists of it are used up from their beginnings."""

    tensor: Callable[[Any], Tensor | None]
    path: Path
    scheme: _Scheme

    def read(self, state: Mapping[Any, Any], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        packed = [name for name, shape in shapes.items() if self._is_packed(shape)]
        plain = [name for name in shapes if name not in set(packed)]
        quantised = self._listed(state, "quantised", "quantized")
        half = self._listed(state, "half", "float16")
        small = self._listed(state, "other", "others")
        if half and small:
            raise self._refused("it has both float16 and other parameters, in an unknown order")
        small = small or half
        for entries, names, kind in ((quantised, packed, "quantised"), (small, plain, "other")):
            if len(entries) != len(names):
                raise self._refused(
                    f"it has {len(entries)} {kind} parameters where the network has {len(names)}"
                )
        weights: dict[str, Tensor] = {}
        lost = 0
        for name, entry in zip(packed, quantised, strict=True):
            weights[name], lost_here = self._dequantised(entry, shapes[name], name)
            lost += lost_here
        for name, entry in zip(plain, small, strict=True):
            weights[name] = self._plain(entry, shapes[name], name)
        if lost:
            logger.warning(
                "%s: %d weights of %d bits were left out by its writer and are read as 0",
                self.path, lost, self.scheme.max_bits,
            )  # fmt: skip
        return {name: weights[name] for name in shapes}

    def _refused(self, problem: str) -> CheckpointError:
        return _refused(problem, self.path)

    def _is_packed(self, shape: torch.Size) -> bool:
        return self.scheme.is_quantised(math.prod(shape))

    def _listed(self, state: Mapping[Any, Any], kind: str, key: str) -> list[Any]:
        entries = state.get(key, [])
        if not isinstance(entries, list):
            raise self._refused(f"its {kind} parameters are no list")
        return entries

    def _plain(self, entry: Any, shape: torch.Size, name: str) -> Tensor:
        value = self.tensor(entry)
        if value is None or not value.is_floating_point() or value.shape != shape:
            found = "no tensor" if value is None else f"{tuple(value.shape)} of {value.dtype}"
            raise self._refused(f"{name} is {found} where {tuple(shape)} belongs")
        return value.float()

    def _dequantised(self, entry: Any, shape: torch.Size, name: str) -> tuple[Tensor, int]:
        size = 2 if self.scheme.quantiser == UNIFORM else 3
        if not isinstance(entry, tuple | list) or len(entry) != size:
            raise self._refused(f"{name} is not made of {size} parts")
        low, high = self._range(entry[1], name)
        count = math.prod(shape)
        if self.scheme.quantiser == UNIFORM:
            levels = self._unpacked(entry[0], count=count, bits=self.scheme.bits, name=name)
            return _scaled(levels, self.scheme.bits, low, high).reshape(shape), 0
        values, lost = self._grouped(entry[0], entry[2], low=low, high=high, count=count, name=name)
        return values.reshape(shape), lost

    def _range(self, entry: Any, name: str) -> tuple[float, float]:
        ends = list(entry) if isinstance(entry, tuple | list) else []
        for place, end in enumerate(ends):
            scalar = None if isinstance(end, int | float) else self.tensor(end)
            if scalar is not None and scalar.numel() == 1:
                ends[place] = scalar.item()
        if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
            raise self._refused(f"the range of {name} is not made of two numbers")
        low, high = ends
        if not (abs(low) < 3e38 and abs(high) < 3e38 and low <= high):
            raise self._refused(f"the range of {name} is {low} to {high}")
        return float(low), float(high)

    def _grouped(
        self, packed: Any, packed_bits: Any, *, low: float, high: float, count: int, name: str
    ) -> tuple[Tensor, int]:
        """Return the weights of groups that differ in their bits, and how many were lost."""
        scheme = self.scheme
        groups, rest = divmod(count, scheme.group_size)
        if rest:
            raise self._refused(f"{name} has {count} weights in groups of {scheme.group_size}")
        if not isinstance(packed, list):
            raise self._refused(f"the levels of {name} are no list")
        planes = (scheme.max_bits - scheme.min_bits).bit_length()
        bits = np.full(groups, scheme.min_bits, np.uint16)
        if planes:
            bits += self._unpacked(packed_bits, count=groups, bits=planes, name=name)
        if bits.max(initial=0) > scheme.max_bits:
            raise self._refused(f"a group of {name} has {bits.max()} bits")
        counts = np.bincount(bits, minlength=scheme.max_bits + 1)
        for width, entry in enumerate(packed, start=1):
            if entry is not None and (width > scheme.max_bits or not counts[width]):
                raise self._refused(f"{name} has levels of {width} bits and no such groups")
        values = torch.full((groups, scheme.group_size), min(max(0.0, low), high))
        lost = 0
        for width in range(scheme.min_bits, scheme.max_bits + 1):
            if not counts[width]:
                continue
            entry = packed[width - 1] if width <= len(packed) else None
            if entry is None and width == scheme.max_bits:
                lost = int(counts[width]) * scheme.group_size
                continue
            size = int(counts[width]) * scheme.group_size
            levels = self._unpacked(entry, count=size, bits=width, name=name)
            chosen = torch.from_numpy(bits == width)
            values[chosen] = _scaled(levels, width, low, high).reshape(-1, scheme.group_size)
        return values, lost

    def _unpacked(self, entry: Any, *, count: int, bits: int, name: str) -> Levels:
        """Return ``count`` numbers of ``bits`` bits, the layout checked first."""
        packed = self.tensor(entry)
        if packed is None:
            raise self._refused(f"a part of {name} is no tensor")
        dtype = torch.int16 if self.scheme.torch_pack else torch.int64
        shape: tuple[int, ...] = (-(-count // _BLOCK), bits, _COLUMNS)
        if self.scheme.torch_pack:
            shape = (bits, -(-count // 16))
        if packed.dtype != dtype or tuple(packed.shape) != shape:
            raise self._refused(
                f"a part of {name} is {tuple(packed.shape)} of {packed.dtype} where {shape} of "
                f"{dtype} belongs"
            )
        unpack = unpack_int16 if self.scheme.torch_pack else unpack_int64
        return unpack(packed)[:count]


def unpack_int64(packed: Tensor) -> Levels:
    """Return the numbers packed as int64 ``(blocks, bits, 32)``, 2048 for each block.

    Number i of a block stands in column i mod 32 at bit i div 32, its own bit r in row r.
    """
    blocks, num_bits, _ = packed.shape
    words = packed.numpy().astype("<i8", copy=False)
    levels = np.zeros((blocks, 64, _COLUMNS), np.uint16)
    for row in range(num_bits):
        columns = np.ascontiguousarray(words[:, row]).view(np.uint8)
        ones = np.unpackbits(columns, bitorder="little").reshape(blocks, _COLUMNS, 64)
        levels |= ones.transpose(0, 2, 1).astype(np.uint16) << row
    return levels.reshape(-1)


def unpack_int16(packed: Tensor) -> Levels:
    """Return the numbers packed as int16 ``(bits, columns)``, 16 for each column.

    Number i stands in column i mod ``columns`` at bit i div ``columns``, its bit r in row r.
    """
    num_bits, columns = packed.shape
    words = packed.numpy().view(np.uint16)
    places = np.arange(16, dtype=np.uint16)[:, None]
    levels = np.zeros((16, columns), np.uint16)
    for row in range(num_bits):
        levels |= ((words[row] >> places) & 1) << row
    return levels.reshape(-1)


def _scaled(levels: Levels, bits: int, low: float, high: float) -> Tensor:
    share = torch.from_numpy(levels.astype(np.float32)) / (2**bits - 1)
    return share * (high - low) + low
