"""How the default model is trained: BandSplit on remixed songs, real ones and rendered ones.

The data folder holds ``songs/<song>/<stem>``, and ``rendered/``, which ``audiform data render``
wrote (:mod:`audiform.data.rendering`); either may be absent, and a folder of songs alone will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    PositiveFloat,
)
from torch import Tensor, nn

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
from audiform.data.track import Track
from audiform.dsp.stft import stft
from audiform.errors import ConfigError
from audiform.models.band_split import BandSplit, BandSplitConfig, features, rows_of, squared
from audiform.recipes.excerpts import SongValidator
from audiform.recipes.separation import quickest_attention
from audiform.recipes.settings import with_settings
from audiform.recipes.stems import RENDERED_FOLDER, SeparationData
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.examples import Batch, Sound
from audiform.training.folder import require_free
from audiform.training.loop import OnProgress, Task, train
from audiform.training.losses import relative_error_of_energies
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


#: 8.4 kHz in single bins; what is above counts little and takes half of the time if it has
#: masks for each bin.
NETWORK = BandSplitConfig(fine_bins=777, bands=((10, 10), (24, 12), (78, 5), (106, 2)))

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
    """All settings of a run.

    ``held_out`` are songs that it must not see, and on which it is validated: on the middle
    ``validation_seconds`` of each (None: all of it).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: BandSplitConfig = NETWORK
    training: TrainingConfig = COMMON.model_copy(
        update={
            "seed": 7,
            "batch_size": 5,
            "learning_rate": 1.2e-3,
            "averages": (AverageConfig(decay=0.999),),
            "save_every_seconds": 120.0,
            "max_steps": None,
            "max_seconds": 14400.0,
            "steps_per_epoch": 500,
        }
    )
    source_weights: tuple[NonNegativeFloat, ...] = (1.0, 1.0, 1.0, 2.0)
    remix: RemixConfig = RemixConfig()
    augment: AugmentConfig = AugmentConfig()
    held_out: tuple[str, ...] = ("ev_lithium",)
    validation_seconds: PositiveFloat | None = None


#: A few steps of a network that is good for nothing, in seconds.
TINY = BandSplitRun(
    network=BandSplitConfig(
        n_fft=512,
        hop_length=128,
        fine_bins=192,
        bands=((8, 8), (32, 4)),
        hidden_channels=16,
        num_blocks=1,
        segment_seconds=2.0,
        context_seconds=0.25,
        fade_seconds=0.05,
    ),
    training=COMMON.model_copy(update={"seed": 1, "batch_size": 2, "log_every_steps": 2}),
    remix=RemixConfig(seconds=1.0),
    held_out=(),
    validation_seconds=1.0,
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
    """Train the default model: a band-split transformer, four stems, hours on two CPU cores."""
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
        held_out = prepare_pool(recipe, data, output / "pool")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        network = BandSplit(recipe.network)
    if start is not None:
        network.load_state_dict(_weights(start, recipe.network))
    task = Task(
        network=network,
        objective=BandSplitObjective(recipe.source_weights),
        examples=PoolExamples(recipe, output / "pool", rendered=rendered_songs(data)),
        validator=_validator(recipe, network, held_out, output),
        sound=Sound(sample_rate=SAMPLE_RATE, sources=SOURCES),
    )
    with quickest_attention():
        trained = train(
            task,
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
        scores={"validation": trained.scores} if trained.scores else {},
        half=True,
    )


def _validator(
    recipe: BandSplitRun, network: BandSplit, held_out: list[Track], output: Path
) -> SongValidator | None:
    if not held_out:
        return None
    return SongValidator(
        held_out,
        SeparationData(validation_seconds=recipe.validation_seconds),
        spec=network.spec,
        cache_folder=output / "decoded",
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


def prepare_pool(recipe: BandSplitRun, data: Path, folder: Path) -> list[Track]:
    """Decode the songs that the recipe trains on, what is there is kept; return the others."""
    songs_folder = data / "songs" if (data / "songs").is_dir() else data
    if songs_folder == data and rendered_songs(data) is not None:
        return []  # nothing but rendered songs
    songs = [song for song in read_tracks(songs_folder) if set(song.sources) & set(SOURCES)]
    prepare_songs(folder, (song for song in songs if song.name not in recipe.held_out))
    return [song for song in songs if song.name in recipe.held_out]


class BandSplitObjective:
    """The relative error of masked spectra, from energies alone: no complex number is needed.

    A row's mask m leaves |m X - S|^2 = m^2 |X|^2 - 2 m Re(S X*) + |S|^2 of error, and bins of one
    row add up. Each of the network's bands has an equal say (in the second view of
    :func:`audiform.training.losses.relative_error`), however many bins it has.
    """

    def __init__(self, source_weights: tuple[float, ...]) -> None:
        self.source_weights = source_weights

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "loss", and the error of each source as "loss_SOURCE"."""
        assert isinstance(network, BandSplit)
        (masks,) = network.core(batch["features"])
        with full_precision(masks.device):
            error = masked_error(masks.float(), batch, network.config)
            by_source = zip(network.config.sources, error.mean(dim=0), strict=True)
            return {
                "loss": weighted_mean(error, self.source_weights),
                **{f"loss_{source}": mean for source, mean in by_source},
            }


def masked_error(
    masks: Float[Tensor, "batch source channel row frame"], batch: Batch, config: BandSplitConfig
) -> Float[Tensor, "batch source"]:
    """Return the relative error of what masks leave of a batch of :func:`energies_of`."""
    power = batch["power"][:, None]
    left = (masks * (masks * power - 2.0 * batch["shared"])).sum(dim=(2, 4))
    errors = (left + batch["energy"]).clamp(min=0.0)  # rounding
    widths = torch.tensor(config.band_widths, device=masks.device)
    weights = (1.0 / (len(widths) * widths)).repeat_interleave(widths)
    return relative_error_of_energies(errors, batch["power"].sum(dim=(1, 3)), weights)


def energies_of(
    stems: Complex[Tensor, "batch source 2 bin frame"], config: BandSplitConfig
) -> Batch:
    """Return what the network sees of the stems' sum, and what masks are judged by.

    ``features``; ``power`` of the mixture (batch, channel, row, frame), ``shared``: what each
    stem has in common with it (batch, source, channel, row, frame), and ``energy`` of each stem
    (batch, source, row).
    """
    # parts that lie together: views of complex numbers are several times slower
    real, imaginary = stems.real.contiguous(), stems.imag.contiguous()
    whole_real, whole_imaginary = real.sum(dim=1), imaginary.sum(dim=1)
    shared = torch.addcmul(real * whole_real[:, None], imaginary, whole_imaginary[:, None])
    energy = squared(real, imaginary).sum(dim=-1).sum(dim=2)
    return {
        "features": features(torch.complex(whole_real, whole_imaginary), config),
        "power": rows_of(squared(whole_real, whole_imaginary), config),
        "shared": rows_of(shared, config),
        "energy": rows_of(energy[..., None], config)[..., 0],
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
        """Return the :func:`energies_of` a mixture."""
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
        return energies_of(stems * gain[:, None, None, None, None], recipe.network)
