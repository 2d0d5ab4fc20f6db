"""A run that pretrains a frame network on music without stems."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from pydantic import field_validator
from torch import nn

from audiform.checkpoints.header import PRETRAINING
from audiform.nn.magnitude_masks import MagnitudeMaskConfig, MagnitudeMaskModel
from audiform.recipes.frame_run import FrameRun, train_frames
from audiform.recipes.music import (
    CodebookConfig,
    Music,
    MusicData,
    PretrainingExamples,
    codebook_of,
    find_music,
)
from audiform.recipes.start import frame_network
from audiform.recipes.stems import Songs, data_fingerprint
from audiform.training.folder import require_free
from audiform.training.frame_pretraining import (
    FramePretrainer,
    FramePretrainingConfig,
    PretrainingObjective,
)
from audiform.training.loop import OnProgress, Task
from audiform.training.parallel import main_process_first
from audiform.training.validation import LossValidator


class PretrainingRun(FrameRun):
    """All settings of a run; the network has one mask.

    ``tasks`` are what it learns; with a ``codebook`` it names the codes of masked frames instead
    of finding their magnitudes.
    """

    data: MusicData
    tasks: FramePretrainingConfig = FramePretrainingConfig()
    codebook: CodebookConfig | None = None

    @field_validator("network")
    @classmethod
    def _has_one_mask(cls, network: MagnitudeMaskConfig) -> MagnitudeMaskConfig:
        if network.num_masks != 1:
            raise ValueError(
                f"pretraining trains one mask, and the network has {network.num_masks}; leave "
                "rest_source true, and give the fine-tuning its sources"
            )
        return network


def run(
    recipe: PretrainingRun,
    data: Path,
    output: Path,
    *,
    name: str,
    resume: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Pretrain on the music in ``data``; leave state, log and the checkpoint in ``output``.

    The checkpoint has the network alone, without the heads of the second task and of codes,
    and says that it separates nothing yet. Raises :class:`DataError` for data that cannot be
    used, :class:`ConfigError` for settings that make no sense or an ``output`` that holds
    another run.
    """
    require_free(output, resume=resume)
    start = frame_network(
        recipe.architecture, recipe.network, recipe.start, seed=recipe.training.seed
    )
    songs = find_music(data, recipe.data)
    task = pretraining_task(recipe, start.network, songs, cache_folder=output / "decoded")
    origin = {
        "name": name,
        "stage": PRETRAINING,
        "data": {
            "fingerprint": data_fingerprint([*songs.train, *songs.valid]),
            "train": [track.name for track in songs.train],
            "valid": [track.name for track in songs.valid],
        },
    }
    return train_frames(
        recipe,
        start,
        task,
        output,
        origin=origin,
        prefix="network.",
        resume=resume,
        on_progress=on_progress,
    )


def pretraining_task(
    recipe: PretrainingRun,
    network: nn.Module,
    songs: Songs,
    *,
    cache_folder: Path | None = None,
) -> Task:
    """Return what pretrains ``network``, of any initial weights, on ``songs``.

    Without songs to validate on there is no validation. The heads begin from the seed.
    """
    assert isinstance(network, MagnitudeMaskModel)
    seed = recipe.training.seed

    cut = partial(Music, data=recipe.data, network=network.config, cache_folder=cache_folder)
    with main_process_first():
        music = cut(songs.train)
        examples = PretrainingExamples(music, recipe.tasks, seed=seed)
        valid = None
        if songs.valid:
            judged = cut(songs.valid)
            valid = PretrainingExamples(
                judged,
                recipe.tasks,
                seed=seed,
                # of one track there are no others
                foreign=music if judged.num_tracks < 2 else None,
                draws_per_epoch=recipe.data.validation_pieces,
            )
    codebook = None
    if recipe.codebook is not None:
        codebook = codebook_of(examples, recipe.codebook, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pretrainer = FramePretrainer(network, recipe.tasks, codebook=codebook)
    objective = PretrainingObjective()
    return Task(
        pretrainer,
        objective,
        examples,
        None if valid is None else LossValidator(objective, valid),
    )
