"""Files of ``torch.save`` read without ``torch.load``: the zip layout and the older one.

The structure is read by :mod:`audiform.checkpoints.restricted_pickle`; here the storages
are found and turned into tensors. Both layouts as documented by
https://pytorch.org/docs/stable/notes/serialization.html and ``torch/serialization.py``.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiform.checkpoints.restricted_pickle import Storage, StoredTensor, read_pickle
from audiform.errors import CheckpointError

#: The structure of the largest published package takes less than 1 MiB.
MAX_PICKLE_BYTES = 16 * 2**20

#: All tensors together may take so many times the size of the file: shared weights, no more.
MAX_EXPANSION = 4

#: First values of the older layout.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_DTYPES = {
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.BoolStorage": torch.bool,
    "torch.ByteStorage": torch.uint8,
    "torch.CharStorage": torch.int8,
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.IntStorage": torch.int32,
    "torch.LongStorage": torch.int64,
    "torch.ShortStorage": torch.int16,
}


@dataclass
class TorchFile:
    """An open file: its structure (inert), and its tensors on demand."""

    path: Path
    content: Any
    _read: Callable[[Storage], bytes]
    _budget_bytes: int

    def tensor(self, stored: StoredTensor) -> Tensor:
        """Return the tensor that ``stored`` describes, contiguous and on the CPU."""
        dtype = _DTYPES[stored.storage.kind]
        count, last = 1, stored.storage.offset + stored.offset
        for length, stride in zip(stored.shape, stored.strides, strict=True):
            count *= length
            last += (length - 1) * stride
        if count == 0:
            return torch.empty(stored.shape, dtype=dtype)
        if last >= stored.storage.size or count > stored.storage.size:
            raise self._damaged(f"a tensor of the shape {stored.shape} goes beyond its storage")
        self._budget_bytes -= count * dtype.itemsize
        if self._budget_bytes < 0:
            raise self._damaged("its tensors add up to far more than the file holds")
        with _damage_named(self.path):
            raw = self._read(stored.storage)
        if len(raw) != stored.storage.size * dtype.itemsize:
            raise self._damaged(f"the storage {stored.storage.key!r} has another size than stated")
        flat = torch.frombuffer(bytearray(raw), dtype=dtype)
        start = stored.storage.offset + stored.offset
        return flat.as_strided(stored.shape, stored.strides, start).clone(
            memory_format=torch.contiguous_format
        )

    def _damaged(self, problem: str) -> CheckpointError:
        return CheckpointError(f"is damaged: {problem}; fetch it again", path=self.path)


@contextmanager
def open_torch_file(path: Path) -> Iterator[TorchFile]:
    """Open a file of ``torch.save``; nothing of it is run."""
    with ExitStack() as opened:
        with _damage_named(path):
            file = opened.enter_context(path.open("rb"))
            beginning = file.read(4)
            file.seek(0)
            if beginning == b"PK\x03\x04":
                result = _open_zip(opened.enter_context(zipfile.ZipFile(file)), path)
            elif beginning[:1] == b"\x80":
                result = _open_legacy(file.read(), path)
            else:
                raise CheckpointError(
                    "is no file of torch.save (it begins like neither of its layouts); it may "
                    "be an error page that was saved under this name: fetch it again",
                    path=path,
                )
        yield result


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what the system and ``zipfile`` raise for a damaged file into our error."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror or error}; check the path and its permissions",
            path=path,
        ) from error
    except (
        zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, MemoryError,
        OverflowError, struct.error, zlib.error,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"is damaged ({error}); it may be a part of a download: fetch it again", path=path
        ) from error


def _open_zip(archive: zipfile.ZipFile, path: Path) -> TorchFile:
    records = _records(archive, path)
    if records.get("byteorder") and archive.read(records["byteorder"]) != b"little":
        raise CheckpointError(
            "was written on a big-endian machine, which is not supported; write it anew",
            path=path,
        )
    pickled = records["data.pkl"]
    if pickled.file_size > MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"has a structure of {pickled.file_size} bytes, and no Demucs package has more than "
            f"{MAX_PICKLE_BYTES}; use the file as it was released",
            path=path,
        )
    content = read_pickle(io.BytesIO(archive.read(pickled)), path=path)

    def read(storage: Storage) -> bytes:
        record = records.get(f"data/{storage.key}")
        if record is None:
            raise CheckpointError(
                f"is damaged: the storage {storage.key!r} is missing; fetch it again", path=path
            )
        return archive.read(record)

    return TorchFile(path, content, read, MAX_EXPANSION * path.stat().st_size)


def _records(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the records by their name below the archive's one folder, after checking them.

    torch stores and never compresses, so what a file unpacks to is never larger than the
    file; records that share bytes are refused for the same reason.
    """

    def refused(problem: str) -> CheckpointError:
        return CheckpointError(
            f"is a zip file that torch.save did not write: {problem}; use the file as it was "
            "released",
            path=path,
        )

    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    roots = [name.partition("/")[0] for name in archive.namelist() if name.count("/") == 1]
    root = next((name for name in roots if f"{name}/data.pkl" in archive.namelist()), None)
    if not root:
        raise refused("it has no data.pkl")
    records: dict[str, zipfile.ZipInfo] = {}
    end = 0
    for info in infos:
        folder, _, name = info.filename.partition("/")
        if folder != root or not name or ".." in name.split("/") or "\\" in name:
            raise refused(f"it has a record named {info.filename[:80]!r}")
        if name in records:
            raise refused(f"it has two records named {info.filename[:80]!r}")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise refused(f"its record {info.filename[:80]!r} is compressed")
        if info.header_offset < end:
            raise refused("its records overlap")
        end = info.header_offset + zipfile.sizeFileHeader + info.file_size  # type: ignore[attr-defined]
        records[name] = info
    if end > archive.start_dir:
        raise refused("its records overlap")
    return records


def _open_legacy(raw: bytes, path: Path) -> TorchFile:
    stream = io.BytesIO(raw)
    magic, protocol = read_pickle(stream, path=path), None
    if magic == _LEGACY_MAGIC:
        protocol = read_pickle(stream, path=path)
    if protocol != _LEGACY_PROTOCOL:
        raise CheckpointError(
            "is a pickle, but not one of torch.save; use the file as it was released", path=path
        )
    machine = read_pickle(stream, path=path)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise CheckpointError(
            "was written on a big-endian machine, which is not supported; write it anew",
            path=path,
        )
    content = read_pickle(stream, path=path)
    keys = read_pickle(stream, path=path)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("is damaged: it lists no storages; fetch it again", path=path)
    kinds = {storage.key: storage for storage in _storages(content)}
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        size = int.from_bytes(stream.read(8), "little", signed=True)
        item = _DTYPES[kinds[key].kind].itemsize if key in kinds else 0
        start = stream.tell()
        if not item or size < 0 or start + size * item > len(raw):
            raise CheckpointError(
                f"is damaged: the storage {key[:40]!r} does not end within the file; fetch it "
                "again",
                path=path,
            )
        places[key] = (start, start + size * item)
        stream.seek(start + size * item)

    def read(storage: Storage) -> bytes:
        start, end = places.get(storage.key, (0, 0))
        return raw[start:end]

    return TorchFile(path, content, read, MAX_EXPANSION * len(raw))


def _storages(content: Any) -> Iterator[Storage]:
    """Every storage that a structure speaks of; each container is visited once."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Storage):
            yield value
        elif isinstance(value, StoredTensor):
            yield value.storage
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
