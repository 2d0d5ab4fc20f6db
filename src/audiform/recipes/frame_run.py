"""What runs of networks that mask magnitudes have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny, model_validator

from audiform.checkpoints.adapter import fingerprint
from audiform.checkpoints.header import Licence
from audiform.models import MODELS
from audiform.nn.magnitude_masks import MagnitudeMaskConfig
from audiform.recipes.separation import CHECKPOINT_FILE, quickest_attention
from audiform.recipes.start import Start, StartConfig
from audiform.training.config import TrainingConfig
from audiform.training.loop import OnProgress, Task, train
from audiform.training.result import write_trained


class FrameRun(BaseModel):
    """Settings of every such run.

    ``architecture`` names a network of ``MODELS`` that masks magnitudes, ``network`` is its
    configuration. ``start`` is what the weights come from, None for the network's own
    initialisation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    network: SerializeAsAny[MagnitudeMaskConfig]
    training: TrainingConfig
    start: StartConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_network(cls, values: Any) -> Any:
        """Read the configuration of the network as that of its architecture."""
        network = values.get("network")
        entry = MODELS.get(values.get("architecture"))
        if not isinstance(network, Mapping) or entry is None:
            return values
        return {**values, "network": entry.config.model_validate(dict(network))}

    @model_validator(mode="after")
    def _network_fits(self) -> FrameRun:
        entry = MODELS.get(self.architecture)
        if entry is None or not isinstance(self.network, entry.config):
            raise ValueError(f"network is no configuration of {self.architecture!r}")
        return self


def train_frames(
    recipe: FrameRun,
    start: Start,
    task: Task,
    output: Path,
    *,
    origin: Mapping[str, Any],
    prefix: str = "",
    resume: bool,
    on_progress: OnProgress | None,
) -> Path:
    """Train; write the checkpoint of the network of ``start``, return its path.

    ``prefix`` is where the weights of that network are in those of what is trained.
    """
    base = start.base
    origin = {
        **origin,
        "base": None if base is None else fingerprint(base.state),
        "fresh": list(start.fresh),
    }
    with quickest_attention():
        trained = train(
            task,
            recipe.training,
            folder=output,
            description={**recipe.model_dump(mode="json"), **origin},
            resume=resume,
            on_progress=on_progress,
        )
    weights = {
        name.removeprefix(prefix): value
        for name, value in trained.weights.items()
        if name.startswith(prefix)
    }
    config: Any = start.network.config
    return write_trained(
        replace(trained, weights=weights),
        output / CHECKPOINT_FILE,
        recipe=recipe,
        origin=origin,
        architecture=recipe.architecture,
        config=config,
        sources=config.sources,
        sample_rate=config.sample_rate,
        licence=Licence(code="MIT") if base is None else base.header.licence,
        scores={"validation": trained.scores} if trained.scores else {},
    )
