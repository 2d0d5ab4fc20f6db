"""Shapes in annotations are checked while the tests run; one thread, so that runs agree."""

from __future__ import annotations

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
