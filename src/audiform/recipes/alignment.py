"""The run that learns where hits begin, so that they can be put on a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from audiform.checkpoints.header import Licence
from audiform.data.decoded import DecodedAudio
from audiform.data.hits import FolderNotes, HitExamples
from audiform.data.track import Track
from audiform.models.grid_aligner import GridAligner, GridAlignerConfig
from audiform.recipes.inverse import (
    CHECKPOINT_FILE,
    described,
    new_network,
    read_sounds,
    recordings,
)
from audiform.recipes.settings import with_settings
from audiform.recipes.tiny import TINY_TRAINING
from audiform.training.config import TrainingConfig
from audiform.training.hits import HitObjective, HitValidator
from audiform.training.loop import OnProgress, Task, train
from audiform.training.result import write_trained
from audiform.training.schedule import CosineSchedule
from audiform.training.seed import mixed_seed


class AlignmentData(BaseModel):
    """What of the folder is used, and how.

    Recordings of at most ``longest_seconds`` are taken for single notes or hits, which
    performances of ``segment_seconds`` are made of; in ``synthetic_share`` of the notes the
    sound is made up. ``held_out``: recordings that are validated on and not trained on, by
    name; without any, a tenth. ``validation_pieces`` is how many performances are judged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_seconds: PositiveFloat = 3.0
    longest_seconds: PositiveFloat = 4.0
    synthetic_share: float = Field(0.3, ge=0.0, le=1.0)
    held_out: tuple[str, ...] = ()
    validation_pieces: PositiveInt = 24


class AlignmentRun(BaseModel):
    """All settings of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: GridAlignerConfig = GridAlignerConfig()
    training: TrainingConfig
    data: AlignmentData = AlignmentData()


def inverse_align() -> AlignmentRun:
    """Train an aligner of hits to a grid on a folder of single notes and hits: ten minutes."""
    return AlignmentRun(
        training=TrainingConfig(
            batch_size=4,
            max_seconds=450.0,
            steps_per_epoch=100,
            optimizer="adamw",
            learning_rate=3e-3,
            weight_decay=1e-2,
            max_gradient_norm=5.0,
            schedule=CosineSchedule(warmup_steps=30),
            best="f_loss",
            num_workers=0,
            save_every_seconds=60.0,
            tensorboard=False,
        )
    )


def inverse_align_tiny() -> AlignmentRun:
    """Train the tiny form of it: seconds on a CPU."""
    settings: dict[str, Any] = {
        **TINY_TRAINING,
        "network.bands": ((8, 8), (32, 4)),
        "network.hidden_channels": 8,
        "network.num_heads": 2,
        "network.num_blocks": 1,
        "network.reach_frames": 4,
        "data.segment_seconds": 0.5,
        "data.validation_pieces": 2,
    }
    return with_settings(inverse_align(), settings)


def run(
    recipe: AlignmentRun,
    data: Path,
    output: Path,
    *,
    name: str,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Learn where hits begin; leave state, log and the checkpoint in ``output``.

    Raises :class:`DataError` for a folder without short sounds.
    """
    config = recipe.network
    network = new_network(GridAligner, config, seed=recipe.training.seed)
    sounds = read_sounds(data, recipe.data.held_out)
    cut = {"sample_rate": config.sample_rate, "n_fft": config.n_fft,
           "hop_length": config.hop_length}  # fmt: skip
    unknown = 2 * config.unknown_frames * config.hop_length + config.n_fft

    def examples(tracks: list[Track], number: int, draws: int) -> HitExamples:
        return HitExamples(
            FolderNotes(_short(recipe, tracks, output / "decoded")),
            samples=unknown + config.samples(recipe.data.segment_seconds),
            seed=mixed_seed(recipe.training.seed, number),
            synthetic_share=recipe.data.synthetic_share,
            draws_per_epoch=draws,
            **cut,
        )

    origin = {"name": name, "data": described(sounds)}
    trained = train(
        Task(
            network,
            HitObjective(config.unknown_frames),
            examples(sounds.train, 0, 1000),
            HitValidator(
                examples(sounds.valid, 1, recipe.data.validation_pieces),
                unknown_frames=config.unknown_frames,
                **cut,
            ),
        ),
        recipe.training,
        folder=output,
        description={**recipe.model_dump(mode="json"), **origin},
        resume=resume,
        on_progress=on_progress,
    )
    return write_trained(
        trained,
        output / CHECKPOINT_FILE,
        recipe=recipe,
        origin=origin,
        architecture="grid-aligner",
        config=config,
        knobs=config.knobs,
        sample_rate=config.sample_rate,
        licence=Licence(code="MIT"),
        scores={"validation": trained.scores},
    )


def _short(
    recipe: AlignmentRun, tracks: list[Track], cache_folder: Path
) -> tuple[DecodedAudio, ...]:
    rate = recipe.network.sample_rate
    found = recordings(tracks, sample_rate=rate, cache_folder=cache_folder)
    most = recipe.data.longest_seconds * rate
    return tuple(audio for audio in found if audio.num_samples <= most)
