"""How the default model is trained: BandSplit on remixed songs and rendered stems.

The data folder holds ``songs/<song>/<stem>`` and ``train/index.csv``, a library of sounds
(:mod:`audiform.data.samples`); either may be absent, and a folder of songs alone will do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, ValidationError
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiform.augment.spectral import (
    AugmentConfig,
    augment_spectra,
    augment_waveforms,
    draw_augmentation,
)
from audiform.checkpoints.file import write_checkpoint
from audiform.checkpoints.header import Licence
from audiform.data.pool import (
    POOL_KINDS,
    SUNG_STREAM,
    PoolKind,
    prepare_songs,
    render_pool,
)
from audiform.data.remix import RemixConfig, RemixPool
from audiform.data.samples import SampleLibrary
from audiform.data.singing import SungVoices
from audiform.data.tracks import find_songs
from audiform.dsp.stft import stft
from audiform.errors import ConfigError, DataError
from audiform.models.band_split import BandSplit, BandSplitConfig, features
from audiform.training.config import TrainingConfig
from audiform.training.loop import LOG_FILE, STATE_FILE, DrawBatch, new_state, train

logger = logging.getLogger(__name__)

#: Deviation in dB of the level at which the network sees a mixture: whole tracks are brought
#: to a deviation of one, a crop of them may be louder or quieter.
LEVEL_DEVIATION_DB = 2.0

#: Checkpoint that a run leaves in its folder.
CHECKPOINT_FILE = "model.safetensors"


class PoolSettings(BaseModel):
    """What is prepared before training; ``counts`` are rendered stems of each kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    semitones: tuple[float, ...] = (0.0, -2.0, 2.0, -4.0, 4.0)
    counts: dict[str, NonNegativeInt] = {
        "drums": 200,
        "bass": 173,
        "other": 200,
        "vocals": 200,
        "vocals_lowband": 100,
        "vocals_sung": 80,
    }
    seconds: PositiveFloat = 24.0
    seed: NonNegativeInt = 2026


class BandSplitRun(BaseModel):
    """All settings of a run. ``held_out`` are songs that it must not see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: BandSplitConfig = BandSplitConfig()
    training: TrainingConfig = TrainingConfig(
        seed=7,
        batch_size=5,
        learning_rate=1.2e-3,
        average_decay=0.998,
        save_every_seconds=120.0,
        max_seconds=3870.0,
    )
    pool: PoolSettings = PoolSettings()
    remix: RemixConfig = RemixConfig()
    augment: AugmentConfig = AugmentConfig()
    held_out: tuple[str, ...] = ("ev_lithium",)


#: A few steps of a network that is good for nothing, in seconds.
TINY = BandSplitRun(
    network=BandSplitConfig(
        n_fft=512,
        hop_length=128,
        bands=((8, 8), (32, 4)),
        hidden_channels=16,
        num_blocks=1,
        segment_seconds=2.0,
        context_seconds=0.25,
        fade_seconds=0.05,
    ),
    training=TrainingConfig(seed=1, batch_size=2, max_steps=4, log_every_steps=2),
    pool=PoolSettings(semitones=(0.0,), counts={"drums": 1, "bass": 1}, seconds=3.0),
    remix=RemixConfig(seconds=1.0),
    held_out=(),
)


def band_split(
    data: Path,
    output: Path,
    *,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, float], None] | None = None,
) -> Path:
    """Train the default model; see :class:`audiform.recipes.Recipe`."""
    return run(
        BandSplitRun(), data, output, resume=resume, settings=settings, on_progress=on_progress
    )


def band_split_tiny(
    data: Path,
    output: Path,
    *,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, float], None] | None = None,
) -> Path:
    """Train its tiny form: the same way through the code, in seconds."""
    return run(TINY, data, output, resume=resume, settings=settings, on_progress=on_progress)


def run(
    recipe: BandSplitRun,
    data: Path,
    output: Path,
    *,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, float], None] | None = None,
) -> Path:
    """Prepare the data, train, and write the averaged weights as a checkpoint.

    Raises :class:`DataError` for data that cannot be used, :class:`ConfigError` for settings
    that make no sense or an ``output`` that holds another run.
    """
    recipe = with_settings(recipe, settings or {})
    state_path = output / STATE_FILE
    if state_path.exists() and not resume:
        raise ConfigError(
            f"{output} holds a training run already; go on with --resume or choose another folder"
        )
    prepare_pool(recipe, data, output / "pool")
    pool = RemixPool(output / "pool", recipe.remix)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        network = BandSplit(recipe.network)
    state = new_state(network, recipe.training)
    if resume and state_path.exists():
        state.load(state_path)
    # On a CPU the plain form of attention is several times faster backward than the fused one.
    with sdpa_kernel(SDPBackend.MATH):
        train(
            state,
            recipe.training,
            draw_batch=_batches(recipe, pool),
            estimate=estimate_spectra,
            folder=output,
            on_progress=on_progress,
        )
    return write_checkpoint(
        output / CHECKPOINT_FILE,
        architecture="band-split",
        config=recipe.network,
        state=state.average.state_dict(),
        sources=recipe.network.sources,
        sample_rate=recipe.network.sample_rate,
        licence=Licence(code="MIT"),
        training={
            "recipe": recipe.model_dump(mode="json"),
            "steps": state.step,
            "seconds": round(state.seconds, 1),
            "log": LOG_FILE,
        },
        half=True,
        **state.packing(),
    )


def with_settings(recipe: BandSplitRun, settings: Mapping[str, Any]) -> BandSplitRun:
    """Return ``recipe`` with values replaced by dotted path, validated anew."""
    values = recipe.model_dump()
    for path, value in settings.items():
        *parents, last = path.split(".")
        place: Any = values
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise ConfigError(f"the recipe has no setting {path!r}; its parts are {sorted(values)}")
        place[last] = value
    try:
        return BandSplitRun.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"the recipe does not take these settings: {error}") from error


def prepare_pool(recipe: BandSplitRun, data: Path, folder: Path) -> None:
    """Decode, shift and render what the recipe trains on; what is there already is kept."""
    songs_folder = data / "songs" if (data / "songs").is_dir() else data
    try:
        songs = find_songs(songs_folder, recipe.network.sources)
    except DataError:
        if not (data / "train" / "index.csv").is_file():
            raise
        songs = []
    used = [song for song in songs if song.name not in recipe.held_out]
    prepare_songs(folder, used, recipe.pool.semitones)
    if not (data / "train" / "index.csv").is_file():
        return
    library = SampleLibrary(data / "train")
    counts = dict(recipe.pool.counts)
    kinds = {**POOL_KINDS, "vocals_sung": PoolKind(SungVoices(library), SUNG_STREAM)}
    if counts.get("vocals_sung"):
        try:
            import_module("pyworld")
        except ImportError as error:
            logger.warning(
                "no singing is made from speech: pyworld cannot be used (%s); "
                "pip install 'audiform[train]'",
                error,
            )
            counts["vocals_sung"] = 0
    render_pool(
        folder,
        library,
        counts=counts,
        seconds=recipe.pool.seconds,
        seed=recipe.pool.seed,
        kinds=kinds,
    )


def estimate_spectra(
    network: nn.Module, mixture: Complex[Tensor, "batch channel bin frame"]
) -> Complex[Tensor, "batch source channel bin frame"]:
    """Return the stems' spectra; no way back to the waveform is needed for the loss."""
    assert isinstance(network, BandSplit)
    (masks,) = network.core(features(mixture))
    return masks.float() * mixture[:, None]


def _batches(recipe: BandSplitRun, pool: RemixPool) -> DrawBatch:
    """Return the function that draws augmented stems as spectra."""

    def draw(generator: torch.Generator) -> Complex[Tensor, "batch source channel bin frame"]:
        seed = int(torch.randint(2**62, (1,), generator=generator))
        examples = pool.draw(np.random.default_rng(seed), recipe.training.batch_size)
        augmentation = draw_augmentation(
            generator,
            recipe.augment,
            batch_size=recipe.training.batch_size,
            num_sources=len(recipe.network.sources),
            lowband=torch.from_numpy(examples.lowband),
        )
        waveforms = augment_waveforms(torch.from_numpy(examples.stems), augmentation)
        stems = augment_spectra(
            stft(waveforms, recipe.network.stft),
            augmentation,
            sample_rate=recipe.network.sample_rate,
        )
        mixture = stems.sum(dim=1)
        level = (mixture.real.square() + mixture.imag.square()).mean(dim=(1, 2, 3)).sqrt()
        gain_db = LEVEL_DEVIATION_DB * torch.randn(len(stems), generator=generator)
        gain = 10.0 ** (gain_db / 20.0) / (level + 1e-6)
        return stems * gain[:, None, None, None, None]

    return draw
