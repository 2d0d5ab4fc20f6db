"""The checkpoint that a run leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from audiform.checkpoints.file import write_checkpoint
from audiform.training.folder import LOG_FILE
from audiform.training.loop import Trained


def write_trained(
    trained: Trained,
    path: Path,
    *,
    recipe: BaseModel,
    origin: Mapping[str, Any] | None = None,
    **header: Any,
) -> Path:
    """Write the weights that a run hands out, with what they were trained by; return the path.

    ``origin`` is what is known of it besides the settings: name, data, where it began.
    ``header`` is what :func:`audiform.checkpoints.file.write_checkpoint` takes besides. Only
    the main process writes.
    """
    training = {
        "recipe": recipe.model_dump(mode="json"),
        "steps": trained.step,
        "seconds": round(trained.seconds, 1),
        "weights": trained.candidate,
        "validation": trained.scores,
        "log": LOG_FILE,
        **(origin or {}),
    }
    if trained.is_main_process:
        write_checkpoint(
            path, state=trained.weights, training=training, **trained.packing, **header
        )
    return path
