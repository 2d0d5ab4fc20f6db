"""Writers of packed quantised states, number by number, for tests of the reader."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from audiform.checkpoints.restricted_pickle import GlobalName, StoredTensor
from audiform.checkpoints.torch_file import TorchFile, open_torch_file

GOLDEN = Path(__file__).parents[1] / "golden" / "quantised"


def golden_th(kind: str, folder: Path) -> Path:
    path = folder / f"demucs_{kind}.th"
    path.write_bytes(gzip.decompress((GOLDEN / f"demucs_{kind}.th.gz").read_bytes()))
    return path


def pack_int64(numbers: list[int], bits: int) -> torch.Tensor:
    blocks = -(-len(numbers) // 2048)
    packed = [[[0] * 32 for _ in range(bits)] for _ in range(blocks)]
    for index, number in enumerate(numbers):
        block, place = divmod(index, 2048)
        for row in range(bits):
            packed[block][row][place % 32] |= (number >> row & 1) << (place // 32)
    return torch.tensor(
        [[[_signed(word, 64) for word in row] for row in block] for block in packed],
        dtype=torch.int64,
    ).reshape(blocks, bits, 32)


def pack_int16(numbers: list[int], bits: int) -> torch.Tensor:
    columns = -(-len(numbers) // 16)
    packed = [[0] * columns for _ in range(bits)]
    for index, number in enumerate(numbers):
        for row in range(bits):
            packed[row][index % columns] |= (number >> row & 1) << (index // columns)
    return torch.tensor(
        [[_signed(word, 16) for word in row] for row in packed], dtype=torch.int16
    ).reshape(bits, columns)


def _signed(word: int, width: int) -> int:
    return word - 2**width if word >= 2 ** (width - 1) else word


PACK = {False: pack_int64, True: pack_int16}


def meta(klass: str, *, torch_pack: bool = False, **init_kwargs):
    return {"klass": klass, "init_kwargs": init_kwargs, "packed": True, "torch_pack": torch_pack}


def state(meta, quantized, *, others=(), float16=()):
    return {
        "meta": meta,
        "quantized": list(quantized),
        "others": list(others),
        "float16": list(float16),
        "__quantized": True,
    }


def flattened(value, tensors: dict[str, torch.Tensor]):
    """Return the tree of the hub layout for ``value``; its tensors go to ``tensors``."""
    if isinstance(value, torch.Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.clone()
        return {"_tensor": name}
    if isinstance(value, dict):
        return {"_dict": [[key, flattened(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list):
        return {"_list": [flattened(item, tensors) for item in value]}
    if isinstance(value, tuple):
        return {"_tuple": [flattened(item, tensors) for item in value]}
    if isinstance(value, GlobalName):
        return {"_class": value.name}
    return value


def in_memory(file: TorchFile, value):
    """Return what a file holds with its tensors read."""
    if isinstance(value, StoredTensor):
        return file.tensor(value)
    if isinstance(value, dict):
        return {key: in_memory(file, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(in_memory(file, item) for item in value)
    return value


def hub_file(source: Path, target: Path, **kwargs) -> Path:
    """Write a ``.th`` anew in the hub layout, with other options if they are given."""
    with open_torch_file(source) as file:
        package = in_memory(file, file.content)
    tensors: dict[str, torch.Tensor] = {}
    structure = flattened(package["state"], tensors)
    metadata = {
        "klass": package["klass"].name,
        "args": "[]",
        "kwargs": json.dumps(package["kwargs"] | kwargs),
        "structure": json.dumps(structure),
    }
    save_file(tensors, target, metadata=metadata)
    return target
