"""How the default model is trained: BandSplit on remixed songs and rendered stems.

The data folder holds ``songs/<song>/<stem>`` and ``train/index.csv``, a library of sounds
(:mod:`audiform.data.samples`); either may be absent, and a folder of songs alone will do.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiform.augment.spectral import (
    AugmentConfig,
    augment_spectra,
    augment_waveforms,
    draw_augmentation,
)
from audiform.checkpoints.header import Licence
from audiform.checkpoints.model_package import resolve
from audiform.data.layouts import read_tracks
from audiform.data.pool import (
    POOL_KINDS,
    SOURCES,
    SUNG_STREAM,
    PoolKind,
    prepare_songs,
    render_pool,
)
from audiform.data.remix import RemixConfig, RemixPool
from audiform.data.samples import SAMPLE_RATE, SampleLibrary
from audiform.data.singing import SungVoices
from audiform.dsp.stft import stft
from audiform.errors import ConfigError, DataError
from audiform.models.band_split import BandSplit, BandSplitConfig, features
from audiform.recipes.settings import with_settings
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.examples import Batch, Sound
from audiform.training.folder import require_free
from audiform.training.loop import OnProgress, Task, train
from audiform.training.losses import relative_error
from audiform.training.objective import full_precision
from audiform.training.parallel import main_process_first
from audiform.training.result import write_trained
from audiform.training.schedule import CosineSchedule
from audiform.training.seed import mixed_seed
from audiform.training.separation import weighted_mean

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


#: What both forms of the run train with.
COMMON = TrainingConfig(
    learning_rate=1.5e-3,
    betas=(0.9, 0.99),
    weight_decay=1e-2,
    max_gradient_norm=5.0,
    schedule=CosineSchedule(warmup_share=0.02),
    averages=(AverageConfig(decay=0.999),),
    precision="bfloat16",
    max_steps=4,
)


class BandSplitRun(BaseModel):
    """All settings of a run. ``held_out`` are songs that it must not see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: BandSplitConfig = BandSplitConfig()
    training: TrainingConfig = COMMON.model_copy(
        update={
            "seed": 7,
            "batch_size": 5,
            "learning_rate": 1.2e-3,
            "averages": (AverageConfig(decay=0.998),),
            "save_every_seconds": 120.0,
            "max_steps": None,
            "max_seconds": 3870.0,
        }
    )
    source_weights: tuple[NonNegativeFloat, ...] = (1.0, 1.0, 1.0, 1.5)
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
    training=COMMON.model_copy(update={"seed": 1, "batch_size": 2, "log_every_steps": 2}),
    pool=PoolSettings(semitones=(0.0,), counts={"drums": 1, "bass": 1}, seconds=3.0),
    remix=RemixConfig(seconds=1.0),
    held_out=(),
)


def band_split(
    data: Path,
    output: Path,
    *,
    resume: bool = False,
    start: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Train the default model: a band-split transformer, four stems, an hour on two CPU cores."""
    return run(
        BandSplitRun(),
        data,
        output,
        resume=resume,
        start=start,
        settings=settings,
        on_progress=on_progress,
    )


def band_split_tiny(
    data: Path,
    output: Path,
    *,
    resume: bool = False,
    start: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Train the tiny form of it: good for nothing, in seconds, the same way through the code."""
    return run(
        TINY,
        data,
        output,
        resume=resume,
        start=start,
        settings=settings,
        on_progress=on_progress,
    )


def run(
    recipe: BandSplitRun,
    data: Path,
    output: Path,
    *,
    resume: bool = False,
    start: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Prepare the data, train, and write the averaged weights as a checkpoint.

    Raises :class:`DataError` for data that cannot be used, :class:`ConfigError` for settings
    that make no sense or an ``output`` that holds another run.
    """
    recipe = with_settings(recipe, settings or {})
    require_free(output, resume=resume)
    with main_process_first():
        prepare_pool(recipe, data, output / "pool")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        network = BandSplit(recipe.network)
    if start is not None:
        network.load_state_dict(_weights(start, recipe.network))
    trained = train(
        Task(
            network=network,
            objective=BandSplitObjective(recipe.source_weights),
            examples=PoolExamples(recipe, output / "pool"),
            sound=Sound(sample_rate=SAMPLE_RATE, sources=SOURCES),
        ),
        recipe.training,
        folder=output,
        description={**recipe.model_dump(mode="json"), "start": start},
        resume=resume,
        on_progress=on_progress,
    )
    return write_trained(
        trained,
        output / CHECKPOINT_FILE,
        architecture="band-split",
        config=recipe.network,
        sources=recipe.network.sources,
        sample_rate=recipe.network.sample_rate,
        licence=Licence(code="MIT"),
        recipe=recipe,
        half=True,
    )


def _weights(name: str, config: BandSplitConfig) -> Mapping[str, Tensor]:
    """Return a checkpoint's weights; raises :class:`ConfigError` for another network's."""
    checkpoint = resolve(name).members[0].read()
    if checkpoint.config != config:
        raise ConfigError(
            f"{name!r} is a {checkpoint.architecture} with other hyper-parameters than the "
            "recipe's network; start from a checkpoint of the same network"
        )
    return checkpoint.state


def prepare_pool(recipe: BandSplitRun, data: Path, folder: Path) -> None:
    """Decode, shift and render what the recipe trains on; what is there already is kept."""
    songs_folder = data / "songs" if (data / "songs").is_dir() else data
    try:
        songs = read_tracks(songs_folder)
    except DataError:
        if not (data / "train" / "index.csv").is_file():
            raise
        songs = []
    used = [
        song
        for song in songs
        if song.name not in recipe.held_out and set(song.sources) & set(SOURCES)
    ]
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


class BandSplitObjective:
    """The relative error of masked spectra; no way back to the waveform is needed for it."""

    def __init__(self, source_weights: tuple[float, ...]) -> None:
        self.source_weights = source_weights

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "loss", and the error of each source as "loss_SOURCE"."""
        assert isinstance(network, BandSplit)
        reference = batch["spectra"]
        device = reference.device
        with full_precision(device):
            mixture = reference.sum(dim=1)
            inputs = features(mixture)
        # On a CPU the plain form of attention is several times faster backward than the fused one.
        with sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
            (masks,) = network.core(inputs)
        with full_precision(device):
            estimate = masks.float() * mixture[:, None]
            error = relative_error(estimate=estimate, reference=reference)
            by_source = zip(network.config.sources, error.mean(dim=0), strict=True)
            return {
                "loss": weighted_mean(error, self.source_weights),
                **{f"loss_{source}": mean for source, mean in by_source},
            }


class PoolExamples:
    """Remixed and augmented stems of a prepared pool, as spectra: one item for each draw.

    The pool is opened where examples are drawn, for it maps files into memory.
    """

    draw_size = 1
    #: A pool has no end; so many items are called an epoch.
    draws_per_epoch = 1000

    def __init__(self, recipe: BandSplitRun, folder: Path) -> None:
        self.recipe = recipe
        self.folder = folder
        self._pool: RemixPool | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}

    def __call__(self, draw: int) -> Batch:
        """Return ``spectra``: (1, source, channel, bin, frame), complex."""
        if self._pool is None:
            self._pool = RemixPool(self.folder, self.recipe.remix)
        recipe = self.recipe
        seed = mixed_seed(recipe.training.seed, draw)
        generator = torch.Generator().manual_seed(seed)
        examples = self._pool.draw(np.random.default_rng(seed), self.draw_size)
        augmentation = draw_augmentation(
            generator,
            recipe.augment,
            batch_size=self.draw_size,
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
        return {"spectra": stems * gain[:, None, None, None, None]}
