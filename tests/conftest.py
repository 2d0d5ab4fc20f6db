"""Shapes in annotations are checked while the tests run; one thread, so that runs agree; a cache
of their own."""

from __future__ import annotations

import os
import tempfile

from jaxtyping import install_import_hook

install_import_hook(
    [
        "audiform.augment",
        "audiform.dsp",
        "audiform.effects",
        "audiform.inference.engine",
        "audiform.inference.ensemble",
        "audiform.inference.pipeline",
        "audiform.metrics",
        "audiform.models",
        "audiform.nn",
    ],
    "beartype.beartype",
)

import torch  # noqa: E402

torch.set_num_threads(1)

# compiled networks and choices of backends: not into the user's cache, and none from there
CACHE = tempfile.TemporaryDirectory(prefix="audiform-tests-")
os.environ["AUDIFORM_CACHE"] = CACHE.name
