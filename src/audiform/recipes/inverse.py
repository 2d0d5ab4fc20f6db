"""Runs that learn to undo something: noise, a room. Any folder of clean sounds is the data.

The damage is made while the run asks for it, so that input and target are both known.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from audiform.checkpoints.header import Licence
from audiform.data.decoded import DecodedAudio, DecodedCache
from audiform.data.effect_inputs import PUBLISHED_FILE_KINDS, SyntheticDry
from audiform.data.effect_pairs import EffectPairs
from audiform.data.folder_sounds import EitherSource, FolderSounds
from audiform.data.inverse_tasks import Denoise, Dereverberate
from audiform.data.music import read_music
from audiform.data.track import Track
from audiform.errors import DataError
from audiform.models.frame_restorer import FrameRestorer, FrameRestorerConfig, PredictionConfig
from audiform.recipes.settings import with_settings
from audiform.recipes.stems import Songs, divided
from audiform.recipes.tiny import TINY_TRAINING
from audiform.training.config import TrainingConfig
from audiform.training.loop import OnProgress, Task, train
from audiform.training.restoring import RestoringObjective, RestoringValidator
from audiform.training.result import write_trained
from audiform.training.schedule import CosineSchedule
from audiform.training.seed import mixed_seed

#: Checkpoint that a run leaves in its folder.
CHECKPOINT_FILE = "model.safetensors"

#: The synthetic clips that follow each other last so many samples.
SYNTHETIC_CLIP_SAMPLES = 16384

#: Where all sounds are of one artist or folder, one of so many validates.
HELD_OUT_OF = 10

#: Three seconds: rooms are predicted from so much and what is heard around it.
ROOM_BLOCK_FRAMES = 128

#: Name in ``MODELS`` of what the runs here train.
ARCHITECTURE = "frame-restorer"


class InverseData(BaseModel):
    """What of the folder is used, and how.

    ``segment_seconds`` is what a training example answers, besides what is heard around it.
    In ``synthetic_share`` of the examples the sound is made up. ``held_out``: recordings that
    are validated on and not trained on, by name; without any, a tenth by
    :mod:`audiform.data.split`. ``validation_pieces`` is how many pieces of them are judged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_seconds: PositiveFloat = 3.0
    synthetic_share: float = Field(0.1, ge=0.0, le=1.0)
    held_out: tuple[str, ...] = ()
    validation_pieces: PositiveInt = 24


class InverseRun(BaseModel):
    """All settings of a run. The damage is a ``Denoise`` or a ``Dereverberate`` at full strength:
    what the network estimates does not depend on how much of it is subtracted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    damage: Literal["noise", "room"]
    network: FrameRestorerConfig = FrameRestorerConfig()
    training: TrainingConfig
    data: InverseData = InverseData()


def _training(max_seconds: float) -> TrainingConfig:
    return TrainingConfig(
        batch_size=4,
        max_seconds=max_seconds,
        steps_per_epoch=100,
        optimizer="adamw",
        learning_rate=3e-3,
        weight_decay=1e-2,
        max_gradient_norm=5.0,
        schedule=CosineSchedule(warmup_steps=30),
        best="si_sdr_gain",
        num_workers=0,
        save_every_seconds=60.0,
        tensorboard=False,
    )


def inverse_denoise() -> InverseRun:
    """Train a denoiser with a strength on a folder of clean sounds: a quarter of an hour."""
    return InverseRun(damage="noise", training=_training(900.0))


def inverse_dereverb() -> InverseRun:
    """Train a remover of rooms with a strength on a folder of dry sounds: forty minutes."""
    network = FrameRestorerConfig(block_frames=ROOM_BLOCK_FRAMES, late=PredictionConfig())
    return InverseRun(damage="room", network=network, training=_training(2400.0))


#: A network for tests, and how short a run is.
TINY_INVERSE: dict[str, Any] = {
    **TINY_TRAINING,
    "network.n_fft": 256,
    "network.hop_length": 128,
    "network.bands": ((8, 4), (16, 4)),
    "network.hidden_channels": 8,
    "network.num_heads": 2,
    "network.num_blocks": 1,
    "network.reach_frames": 4,
    "network.block_frames": 8,
    "data.segment_seconds": 0.2,
    "data.validation_pieces": 2,
}


def inverse_denoise_tiny() -> InverseRun:
    """Train the tiny form of it: seconds on a CPU."""
    return with_settings(inverse_denoise(), TINY_INVERSE)


def inverse_dereverb_tiny() -> InverseRun:
    """Train the tiny form of it: seconds on a CPU."""
    predicted = {"n_fft": 256, "hop_length": 64, "taps": 4, "num_bins": 100}
    late = {f"network.late.{name}": value for name, value in predicted.items()}
    return with_settings(inverse_dereverb(), {**TINY_INVERSE, **late})


def run(
    recipe: InverseRun,
    data: Path,
    output: Path,
    *,
    name: str,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Learn to undo the damage; leave state, log and the checkpoint in ``output``.

    Raises :class:`DataError` for a folder without sounds.
    """
    network = new_network(FrameRestorer, recipe.network, seed=recipe.training.seed)
    sounds = read_sounds(data, recipe.data.held_out)
    rate, spec = recipe.network.sample_rate, network.spec
    block = spec.block_samples
    wanted = max(1, round(recipe.data.segment_seconds * rate / block)) * block
    train_pairs, valid_pairs = (
        EffectPairs(
            _task(recipe, recordings(tracks, sample_rate=rate, cache_folder=output / "decoded")),
            samples=spec.context_samples + wanted + spec.latency_samples,
            sample_rate=rate,
            seed=mixed_seed(recipe.training.seed, number),
            draws_per_epoch=draws,
        )
        for number, (tracks, draws) in enumerate(
            ((sounds.train, 1000), (sounds.valid, recipe.data.validation_pieces))
        )
    )
    origin = {"name": name, "data": described(sounds)}
    trained = train(
        Task(network, RestoringObjective(), train_pairs, RestoringValidator(valid_pairs, rate)),
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
        architecture=ARCHITECTURE,
        config=recipe.network,
        knobs=recipe.network.knobs,
        sample_rate=rate,
        licence=Licence(code="MIT"),
        scores={"validation": trained.scores},
    )


def new_network(network: Callable[[Any], Any], config: BaseModel, *, seed: int) -> Any:
    """Return a network with the weights of ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network(config)


def read_sounds(folder: Path, held_out: tuple[str, ...]) -> Songs:
    """Read a folder of sounds and divide it; raises :class:`DataError` for what cannot serve."""
    shares = {"train": 0.9, "valid": 0.1}
    tracks = read_music(folder)
    sounds = divided(tracks, held_out, root=folder, shares=shares)
    if sounds.train and sounds.valid:
        return sounds
    if len(tracks) < 2:
        raise DataError("one sound alone cannot be trained and validated on; add some", path=folder)
    return Songs(
        [track for number, track in enumerate(tracks) if number % HELD_OUT_OF],
        tracks[::HELD_OUT_OF],
    )


def recordings(
    tracks: list[Track], *, sample_rate: int, cache_folder: Path
) -> tuple[DecodedAudio, ...]:
    """Make the files of ``tracks`` readable: of a song in stems each stem by itself."""
    refs = [
        ref
        for track in tracks
        for part in (track.stems.values() if track.stems else [(track.mixture,)])
        for ref in part
        if ref is not None
    ]
    decoded = DecodedCache(sample_rate=sample_rate, folder=cache_folder).prepare(refs)
    found = tuple(audio for audio in decoded.values() if audio.num_samples)
    if not found:
        raise DataError("none of the sounds has any samples; give others")
    return found


def described(sounds: Songs) -> dict[str, Any]:
    """Return what a checkpoint says of its sounds."""
    return {
        "train": [track.name for track in sounds.train],
        "valid": [track.name for track in sounds.valid],
    }


def _task(recipe: InverseRun, sounds: tuple[DecodedAudio, ...]) -> Denoise | Dereverberate:
    source = EitherSource(
        FolderSounds(sounds),
        SyntheticDry(PUBLISHED_FILE_KINDS, clip_samples=SYNTHETIC_CLIP_SAMPLES),
        recipe.data.synthetic_share,
    )
    if recipe.damage == "noise":
        return Denoise(source, strength=1.0)
    return Dereverberate(source, strength=1.0)
