"""The metadata of a safetensors file, read without the tensors and without torch.

Layout: https://github.com/huggingface/safetensors#format. Eight bytes with the length of
a JSON text, the text, the tensors.
"""

from __future__ import annotations

import json
from pathlib import Path

from audiform.errors import CheckpointError

#: The limit of the safetensors library itself.
MAX_HEADER_BYTES = 100_000_000


def read_safetensors_metadata(path: Path) -> dict[str, str]:
    """Return the ``__metadata__`` of ``path``: text to text, empty where there is none.

    Raises :class:`CheckpointError` when the file is no safetensors file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER_BYTES, path.stat().st_size):
                raise ValueError(f"it announces a header of {length} bytes")
            header = json.loads(file.read(length))
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror or error}; check the path and its permissions",
            path=path,
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"is not a safetensors file ({error}); it may be a part of a download or another "
            "format: fetch it again",
            path=path,
        ) from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(metadata, dict):
        raise CheckpointError(
            "has metadata that are no table of texts; write it with a safetensors library",
            path=path,
        )
    return {str(key): value for key, value in metadata.items() if isinstance(value, str)}
