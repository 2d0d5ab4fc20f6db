"""How the default model is trained: BandSplit on remixed songs, real ones and rendered ones.

The data folder holds ``songs/<song>/<stem>``, and ``rendered/``, which ``audiform data render``
wrote (:mod:`audiform.data.rendering`); either may be absent, and a folder of songs alone will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
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
from audiform.data.pool import SAMPLE_RATE, SOURCES, prepare_songs
from audiform.data.remix import RemixConfig, RemixPool
from audiform.dsp.stft import stft
from audiform.errors import ConfigError
from audiform.models.band_split import BandSplit, BandSplitConfig, features
from audiform.recipes.settings import with_settings
from audiform.recipes.stems import RENDERED_FOLDER
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

#: Deviation in dB of the level at which the network sees a mixture: whole tracks are brought
#: to a deviation of one, a crop of them may be louder or quieter.
LEVEL_DEVIATION_DB = 2.0

#: Checkpoint that a run leaves in its folder.
CHECKPOINT_FILE = "model.safetensors"


class PoolSettings(BaseModel):
    """What is prepared before training: at which pitches real songs are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    semitones: tuple[float, ...] = (0.0, -2.0, 2.0, -4.0, 4.0)


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
    pool=PoolSettings(semitones=(0.0,)),
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
            examples=PoolExamples(recipe, output / "pool", rendered=rendered_songs(data)),
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


def rendered_songs(data: Path) -> Path | None:
    """Return the folder of rendered songs in ``data``, None where there is none."""
    folder = data / RENDERED_FOLDER
    return folder if folder.is_dir() else None


def prepare_pool(recipe: BandSplitRun, data: Path, folder: Path) -> None:
    """Decode and shift the songs that the recipe trains on; what is there already is kept."""
    songs_folder = data / "songs" if (data / "songs").is_dir() else data
    if songs_folder == data and rendered_songs(data) is not None:
        return  # nothing but rendered songs
    used = [
        song
        for song in read_tracks(songs_folder)
        if song.name not in recipe.held_out and set(song.sources) & set(SOURCES)
    ]
    prepare_songs(folder, used, recipe.pool.semitones)


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

    def __init__(self, recipe: BandSplitRun, folder: Path, *, rendered: Path | None = None) -> None:
        self.recipe = recipe
        self.folder = folder
        self.rendered = rendered
        self._pool: RemixPool | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}

    def __call__(self, draw: int) -> Batch:
        """Return ``spectra``: (1, source, channel, bin, frame), complex."""
        if self._pool is None:
            self._pool = RemixPool(self.folder, self.recipe.remix, rendered=self.rendered)
        recipe = self.recipe
        seed = mixed_seed(recipe.training.seed, draw)
        generator = torch.Generator().manual_seed(seed)
        examples = self._pool.draw(np.random.default_rng(seed), self.draw_size)
        augmentation = draw_augmentation(
            generator,
            recipe.augment,
            batch_size=self.draw_size,
            num_sources=len(recipe.network.sources),
            band_hz=torch.from_numpy(examples.band_hz).float(),
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
