"""A run that trains a network of one mask to leave the instruments of a song."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator
from torch import nn

from audiform.augment.random_vocals import RandomVocalsConfig
from audiform.nn.magnitude_masks import MagnitudeMaskConfig, MagnitudeMaskModel
from audiform.recipes.excerpts import SongValidator
from audiform.recipes.frame_run import FrameRun, train_frames
from audiform.recipes.start import frame_network
from audiform.recipes.stems import SeparationData, data_fingerprint
from audiform.recipes.vocals import VocalExamples, VocalsData, VocalSongs, find_songs
from audiform.training.folder import require_free
from audiform.training.loop import OnProgress, Task
from audiform.training.masks import MaskObjective
from audiform.training.parallel import main_process_first


class VocalRemovalRun(FrameRun):
    """All settings of a run; the network has two sources of one mask.

    ``random_vocals`` is who sings over the songs.
    """

    data: VocalsData
    random_vocals: RandomVocalsConfig = RandomVocalsConfig()

    @field_validator("network")
    @classmethod
    def _removes(cls, network: MagnitudeMaskConfig) -> MagnitudeMaskConfig:
        if not network.rest_source or network.audio_channels != 2:
            raise ValueError(
                "the network must have two sources of one mask (rest_source), in stereo; train "
                "others on stems, as frame-transformer-small is"
            )
        return network


def run(
    recipe: VocalRemovalRun,
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
    start = frame_network(
        recipe.architecture, recipe.network, recipe.start, seed=recipe.training.seed
    )
    songs = find_songs(data, recipe.data, recipe.network.sources)
    task = vocal_removal_task(recipe, start.network, songs, cache_folder=output / "decoded")
    origin = {
        "name": name,
        "data": {
            "fingerprint": data_fingerprint([*songs.train, *songs.voices, *songs.valid]),
            "train": [track.name for track in songs.train],
            "voices": [track.name for track in songs.voices],
            "valid": [track.name for track in songs.valid],
        },
    }
    return train_frames(
        recipe, start, task, output, origin=origin, resume=resume, on_progress=on_progress
    )


def vocal_removal_task(
    recipe: VocalRemovalRun,
    network: nn.Module,
    songs: VocalSongs,
    *,
    cache_folder: Path | None = None,
) -> Task:
    """Return what trains ``network``, of any initial weights, on ``songs``."""
    assert isinstance(network, MagnitudeMaskModel)
    validator = None
    with main_process_first():
        examples = VocalExamples(
            songs,
            recipe.data,
            recipe.random_vocals,
            network=network.config,
            seed=recipe.training.seed,
            cache_folder=cache_folder,
        )
        if songs.valid:
            cut = SeparationData(
                validation_seconds=recipe.data.validation_seconds,
                validation_songs=recipe.data.validation_songs,
            )
            validator = SongValidator(
                songs.valid, cut, spec=network.spec, cache_folder=cache_folder
            )
    return Task(network, MaskObjective(), examples, validator)
