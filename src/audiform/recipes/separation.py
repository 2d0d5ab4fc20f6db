"""A run that trains a separation network: its settings, and what joins data, trainer and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, SerializeAsAny, field_validator, model_validator
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiform.augment import AugmentStep
from audiform.augment.chain import AugmentChain
from audiform.checkpoints.adapter import fingerprint, write_adapter
from audiform.checkpoints.header import Licence
from audiform.data.track import Track
from audiform.models import MODELS
from audiform.nn.lora import LoraConfig, merge_adapters
from audiform.protocols import SeparationModel, SeparationSpec
from audiform.recipes.excerpts import SongValidator
from audiform.recipes.start import Start, StartConfig, starting_network
from audiform.recipes.stems import (
    SeparationData,
    SharedExamples,
    Songs,
    StemExamples,
    data_fingerprint,
    find_tracks,
)
from audiform.training.config import TrainingConfig
from audiform.training.examples import Sound
from audiform.training.folder import require_free
from audiform.training.loop import OnProgress, Task, Trained, train
from audiform.training.parallel import main_process_first
from audiform.training.result import write_trained
from audiform.training.separation import SeparationLossConfig, SeparationObjective

#: Checkpoint and adapter that a run leaves in its folder.
CHECKPOINT_FILE = "model.safetensors"
ADAPTER_FILE = "adapter.safetensors"


class SeparationRun(BaseModel):
    """All settings of a run.

    ``architecture`` names an entry of ``MODELS``, ``network`` is its configuration.
    ``augmentations`` are applied in their order. ``start`` is what the weights come from, None
    for the network's own initialisation; with ``lora`` only adapters are trained on them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    network: SerializeAsAny[BaseModel]
    training: TrainingConfig
    data: SeparationData
    augmentations: tuple[AugmentStep, ...] = ()
    loss: SeparationLossConfig = SeparationLossConfig()
    start: StartConfig | None = None
    lora: LoraConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_network(cls, values: Any) -> Any:
        """Read the configuration of the network as that of its architecture."""
        network = values.get("network")
        if not isinstance(network, Mapping):
            return values
        entry = MODELS.get(values.get("architecture"))
        if entry is None:
            raise ValueError(f"architecture must be one of {', '.join(MODELS)}")
        return {**values, "network": entry.config.model_validate(dict(network))}

    @field_validator("network")
    @classmethod
    def _separates(cls, network: BaseModel) -> BaseModel:
        if not {"sources", "sample_rate", "audio_channels"} <= set(type(network).model_fields):
            raise ValueError("the network must be one that separates")
        return network

    @model_validator(mode="after")
    def _fits_together(self) -> SeparationRun:
        if not isinstance(self.network, MODELS[self.architecture].config):
            raise ValueError(f"network is no configuration of {self.architecture!r}")
        if self.lora is not None and self.start is None:
            raise ValueError("lora adapts a checkpoint: name one with start (--from)")
        return self


def run(
    recipe: SeparationRun,
    data: Path,
    output: Path,
    *,
    name: str,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Train on ``data``; leave state, log and the checkpoint in ``output``.

    Raises :class:`DataError` for data that cannot be used, :class:`ConfigError` for settings
    that make no sense or an ``output`` that holds another run.
    """
    require_free(output, resume=resume)
    start = starting_network(recipe)
    base = start.base
    songs = find_tracks(data, recipe.data, recipe.network.sources)  # type: ignore[attr-defined]
    task = separation_task(recipe, start.network, songs, cache_folder=output / "decoded")
    origin = {
        "name": name,
        "base": None if base is None else fingerprint(base.state),
        **({"fresh": list(start.fresh)} if start.fresh else {}),
        "data": {
            "fingerprint": data_fingerprint([*songs.train, *songs.valid, *songs.rendered]),
            "train": [track.name for track in songs.train],
            "valid": [track.name for track in songs.valid],
            **({"rendered": len(songs.rendered)} if songs.rendered else {}),
        },
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
    if start.lora is not None:
        trained = _merged(trained, start, recipe, output)
    network = start.network
    assert isinstance(network, SeparationModel)
    return write_trained(
        trained,
        output / CHECKPOINT_FILE,
        recipe=recipe,
        origin=origin,
        architecture=recipe.architecture,
        config=network.config,
        sources=network.spec.sources,
        sample_rate=network.spec.sample_rate,
        licence=Licence(code="MIT") if base is None else base.header.licence,
        scores={"validation": trained.scores} if trained.scores else {},
    )


def separation_task(
    recipe: SeparationRun, network: nn.Module, songs: Songs, *, cache_folder: Path | None = None
) -> Task:
    """Return what trains ``network``, of any initial weights, on ``songs`` as ``recipe`` says."""
    assert isinstance(network, SeparationModel)
    spec = network.spec
    validator = None
    with main_process_first():
        examples = _examples(recipe, songs, spec, cache_folder)
        if songs.valid:
            validator = SongValidator(
                songs.valid, recipe.data, spec=spec, cache_folder=cache_folder
            )
    sound = Sound(spec.sample_rate, spec.sources)
    return Task(network, SeparationObjective(recipe.loss), examples, validator, sound)


def _examples(
    recipe: SeparationRun, songs: Songs, spec: SeparationSpec, cache_folder: Path | None
) -> StemExamples | SharedExamples:
    def of(tracks: Sequence[Track], *, full_band: bool = False) -> StemExamples:
        return StemExamples(
            tracks,
            recipe.data,
            AugmentChain(recipe.augmentations, spec.sources, spec.sample_rate),
            audio_channels=spec.audio_channels,
            seed=recipe.training.seed,
            cache_folder=cache_folder,
            full_band=full_band,
        )

    if not songs.rendered:
        return of(songs.train)
    rendered = of(songs.rendered, full_band=True)  # narrow voices were given their treble
    return SharedExamples(of(songs.train), rendered, rendered_share=recipe.data.rendered_share)


@contextmanager
def quickest_attention() -> Iterator[None]:
    """On a CPU the plain form of attention is several times faster backward than the fused one.

    It turns bfloat16 into float32 and back unless it is told not to, which takes a quarter.
    """
    if torch.cuda.is_available():
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def _merged(trained: Trained, start: Start, recipe: SeparationRun, output: Path) -> Trained:
    """Write the adapters by themselves; return what was trained with plain weights."""
    assert start.base is not None and start.lora is not None
    network = start.network.cpu()
    network.load_state_dict(trained.weights)
    if trained.is_main_process:
        write_adapter(
            output / ADAPTER_FILE,
            network,
            base=start.base,
            sources=recipe.network.sources,  # type: ignore[attr-defined]
            lora=start.lora,
            training={"recipe": recipe.model_dump(mode="json"), "steps": trained.step},
        )
    return replace(trained, weights=merge_adapters(network).state_dict())
