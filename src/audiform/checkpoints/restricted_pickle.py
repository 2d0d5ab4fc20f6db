"""A pickle as data: read by a small machine that cannot call, import or look anything up.

A pickle is a program, and the usual way to load one safely is to forbid some of what it may
call. Here there is nothing to forbid: the opcodes are decoded by ``pickletools`` (which only
parses) and carried out by :class:`_Machine`, whose values are numbers, texts, lists, tables
and the inert classes below. A global name is never resolved: it must stand in a fixed table,
and then it is either a :class:`GlobalName` (a text) or one of a dozen functions of this
file, each of which checks its arguments. Tensors come out as descriptions
(:class:`StoredTensor`) for :mod:`audiform.checkpoints.torch_file` to fill.

Opcodes: CPython, Lib/pickletools.py.
"""

from __future__ import annotations

import io
import pickletools
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from audiform.errors import CheckpointError

#: More than fifty times the opcodes of the largest published package.
MAX_OPCODES = 2_000_000

#: The largest tensor rank that is taken for a weight.
MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class GlobalName:
    """A class or function that the pickle named; a text, not the thing itself."""

    name: str


@dataclass(eq=False)
class Inert:
    """An object that the pickle built from a permitted name, kept as what it was built from."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.name}>"


@dataclass(frozen=True)
class Storage:
    """A run of numbers that lies elsewhere in the file; ``offset`` in elements."""

    kind: str
    key: str
    size: int
    offset: int = 0


@dataclass(frozen=True)
class StoredTensor:
    """Which elements of a storage make up a tensor."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Refused(Exception):
    """The pickle asks for something that is not permitted; the text says what."""


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage) or not _is_count(offset):
        raise Refused("a tensor that lies in no storage")
    for counts in (shape, strides):
        if not isinstance(counts, tuple | list) or not all(map(_is_count, counts)):
            raise Refused("a tensor whose shape or strides are not whole numbers")
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise Refused(f"a tensor of {len(shape)} dimensions with {len(strides)} strides")
    return StoredTensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(data: Any, *_: Any) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise Refused("a parameter without a tensor")
    return data


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, tuple | list):
        raise Refused("an OrderedDict of something that is no list of pairs")
    result: dict[Any, Any] = {}
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise Refused("an OrderedDict of something that is no list of pairs")
        result[_atom(pair[0])] = pair[1]
    return result


def _fraction(numerator: Any, denominator: Any = 1) -> Fraction:
    if isinstance(numerator, str) and denominator == 1:
        parts = re.fullmatch(r"(-?[0-9]{1,18})(?:/([0-9]{1,18}))?", numerator)
        if parts is None:
            raise Refused("a fraction that is not written as two whole numbers")
        return Fraction(int(parts[1]), int(parts[2] or 1))
    if not all(type(part) is int and abs(part) < 10**18 for part in (numerator, denominator)):
        raise Refused("a fraction that is not made of two whole numbers")
    return Fraction(numerator, denominator)


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, tuple | list | set):
        raise Refused("a set of something that is no list")
    return {_atom(item) for item in items}


def _complex(real: Any = 0.0, imaginary: Any = 0.0) -> complex:
    if not all(type(part) in (int, float) for part in (real, imaginary)):
        raise Refused("a complex number that is not made of two numbers")
    return complex(real, imaginary)


def _encoded(text: Any, encoding: Any = None) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("bytes in another writing than latin1")
    return text.encode("latin-1")


def _size(lengths: Any = ()) -> tuple[Any, ...]:
    if not isinstance(lengths, tuple | list):
        raise Refused("a torch.Size that is no list of lengths")
    return tuple(lengths)


_NUMPY_NUMBERS = {"f4": "<f", "f8": "<d", "i4": "<i", "i8": "<q", "b1": "<?"}


def _numpy_scalar(kind: Any, data: Any = b"") -> Any:
    letters = kind.arguments[0] if isinstance(kind, Inert) and kind.arguments else None
    layout = _NUMPY_NUMBERS.get(letters) if isinstance(letters, str) else None
    if layout is None or not isinstance(data, bytes) or len(data) != struct.calcsize(layout):
        raise Refused("a numpy number of an unknown kind")
    return struct.unpack(layout, data)[0]


#: What these names build is needed, so a function of this file builds it.
_BUILDERS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encoded,
    "builtins.complex": _complex,
    "builtins.frozenset": _set,
    "builtins.set": _set,
    "collections.OrderedDict": _ordered_dict,
    "fractions.Fraction": _fraction,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "torch.Size": _size,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
}

#: Storages of these kinds may hold weights.
STORAGE_KINDS = frozenset(
    f"torch.{kind}Storage"
    for kind in (
        "BFloat16 Bool Byte Char Double Float Half Int Long Short".split()  # noqa: SIM905
    )
)

#: The network classes whose packages may be opened; markers only.
NETWORK_CLASSES = frozenset(
    {
        "demucs.demucs.Demucs",
        "demucs.hdemucs.HDemucs",
        "demucs.htdemucs.HTDemucs",
        "demucs.wdemucs.WDemucs",
    }
)

#: These may occur in packages, mostly among the training arguments, and are never needed.
_INERT = frozenset(
    {
        "builtins.bool",
        "builtins.bytes",
        "builtins.dict",
        "builtins.float",
        "builtins.int",
        "builtins.list",
        "builtins.object",
        "builtins.str",
        "builtins.tuple",
        "collections.Counter",
        "collections.defaultdict",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "diffq.diffq.DiffQuantizer",
        "diffq.uniform.UniformQuantizer",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.ndarray",
        "omegaconf.base.ContainerMetadata",
        "omegaconf.base.Metadata",
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.listconfig.ListConfig",
        "omegaconf.nodes.AnyNode",
        "omegaconf.nodes.BooleanNode",
        "omegaconf.nodes.BytesNode",
        "omegaconf.nodes.EnumNode",
        "omegaconf.nodes.FloatNode",
        "omegaconf.nodes.IntegerNode",
        "omegaconf.nodes.PathNode",
        "omegaconf.nodes.StringNode",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath",
        "pathlib.WindowsPath",
        "torch.device",
        "typing.Any",
        "typing.Dict",
        "typing.List",
        "typing.Tuple",
        "typing.Union",
    }
)

#: The whole table. A name that is not in it ends the reading.
PERMITTED = _INERT | STORAGE_KINDS | NETWORK_CLASSES | frozenset(_BUILDERS)

_ATOMS = (str, bytes, int, float, bool, complex, type(None))

_VALUE_OPCODES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "  # noqa: SIM905
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8".split()
)


def _atom(key: Any) -> Any:
    """Return a key of a table or a member of a set; nested ones could take for ever to hash."""
    if type(key) not in _ATOMS:
        raise Refused(f"a table whose key is a {type(key).__name__}")
    return key


def read_pickle(stream: io.BytesIO, *, path: Path) -> Any:
    """Read one pickle from ``stream`` up to its end and return its value as inert data.

    ``path`` is for the messages. Raises :class:`CheckpointError` for whatever is refused or
    malformed; nothing of the pickle is ever run.
    """
    try:
        return _Machine().run(stream)
    except Refused as refusal:
        raise CheckpointError(
            f"holds {refusal}, which no published checkpoint needs; the file was refused and "
            "nothing of it was run. Use the file as it was released, or a .safetensors one",
            path=path,
        ) from None
    except Exception as error:  # of a malformed pickle: any of a dozen kinds
        raise CheckpointError(
            f"is no complete pickle ({type(error).__name__}: {str(error)[:200]}); it may be a "
            "part of a download: fetch it again",
            path=path,
        ) from error


class _Machine:
    """A stack, the stacks below it, and a memo: all that a pickle works with."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        for count, (opcode, argument, _position) in enumerate(pickletools.genops(stream)):
            if count > MAX_OPCODES:
                raise Refused(f"more than {MAX_OPCODES} instructions")
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _VALUE_OPCODES:
                self.stack.append(argument)
                continue
            step = getattr(self, f"_{opcode.name.lower()}", None)
            if step is None:
                raise Refused(f"the instruction {opcode.name}")
            step(argument)
        raise ValueError("it has no end")

    def _above_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    # Instructions that do nothing here, and constants.

    def _proto(self, _: Any) -> None:
        pass

    def _frame(self, _: Any) -> None:
        pass

    def _none(self, _: Any) -> None:
        self.stack.append(None)

    def _newtrue(self, _: Any) -> None:
        self.stack.append(True)

    def _newfalse(self, _: Any) -> None:
        self.stack.append(False)

    # The stack and the memo.

    def _mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._above_mark()

    def _pop_mark(self, _: Any) -> None:
        self._above_mark()

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    _binput = _long_binput = _put

    def _get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    _binget = _long_binget = _get

    # Lists, tuples, tables, sets.

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _list(self, _: Any) -> None:
        items = self._above_mark()
        self.stack.append(items)

    def _append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._above_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is Inert:
            target.items.extend(items)
        else:
            raise Refused(f"an addition to a {type(target).__name__}")

    def _empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _tuple(self, _: Any) -> None:
        items = self._above_mark()
        self.stack.append(tuple(items))

    def _tuple1(self, _: Any) -> None:
        self._last(1)

    def _tuple2(self, _: Any) -> None:
        self._last(2)

    def _tuple3(self, _: Any) -> None:
        self._last(3)

    def _last(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _dict(self, _: Any) -> None:
        items = self._above_mark()
        self.stack.append({})
        self._update(items)

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _setitems(self, _: Any) -> None:
        self._update(self._above_mark())

    def _update(self, items: Sequence[Any]) -> None:
        target = self.stack[-1]
        pairs = zip(items[::2], items[1::2], strict=True)
        if type(target) is dict:
            target.update((_atom(key), value) for key, value in pairs)
        elif type(target) is Inert:
            target.items.extend(pairs)
        else:
            raise Refused(f"an addition to a {type(target).__name__}")

    def _empty_set(self, _: Any) -> None:
        self.stack.append(set())

    def _additems(self, _: Any) -> None:
        items = self._above_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise Refused(f"an addition to a {type(target).__name__}")
        target.update(map(_atom, items))

    def _frozenset(self, _: Any) -> None:
        items = self._above_mark()
        self.stack.append(_set(items))

    # Names, and what is built from them.

    def _global(self, module_and_name: str) -> None:
        self._name(*module_and_name.split(" ", 1))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(module) is not str or type(name) is not str:
            raise Refused("a global name that is no text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        module = "builtins" if module == "__builtin__" else module  # as Python 2 wrote it
        dotted = f"{module}.{name}"
        if dotted not in PERMITTED:
            raise Refused(f"a reference to {dotted[:200]!r}")
        self.stack.append(GlobalName(dotted))

    def _reduce(self, _: Any) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        self.stack.append(self._built(callee, arguments))

    _newobj = _reduce

    def _built(self, callee: Any, arguments: Any) -> Any:
        if type(callee) is not GlobalName or type(arguments) is not tuple:
            raise Refused(f"a call of a {type(callee).__name__}")
        if callee.name in _BUILDERS:
            return _BUILDERS[callee.name](*arguments)
        if callee.name in _INERT:
            return Inert(callee.name, arguments)
        raise Refused(f"a call of {callee.name!r}")

    def _build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Inert:
            target.state = state
        elif type(target) is not dict:  # an OrderedDict's attributes are of no use here
            raise Refused(f"a state for a {type(target).__name__}")

    def _binpersid(self, _: Any) -> None:
        self.stack.append(_persistent(self.stack.pop()))


def _persistent(identifier: Any) -> Any:
    """Return what an identifier of ``torch.save`` stands for: a storage, or a network class."""
    match identifier:
        case ("module", GlobalName() as network, *_):  # the older layout adds its source text
            return network
        case ("storage", GlobalName(kind), str(key), str(), size, *view):
            if kind not in STORAGE_KINDS or not _is_count(size):
                raise Refused("a storage of an unknown kind or size")
            return _viewed(Storage(kind, key, size), view)
    raise Refused("a persistent identifier that names no storage")


def _viewed(storage: Storage, view: list[Any]) -> Storage:
    match view:
        case [] | [None]:
            return storage
        case [(str(), int(offset), int(size))] if offset >= 0 and size >= 0:
            if offset + size <= storage.size:
                return Storage(storage.kind, storage.key, storage.size, offset)
    raise Refused("a view of a storage beyond its end")
