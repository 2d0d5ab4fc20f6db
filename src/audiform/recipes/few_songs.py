"""What runs of small networks have in common: four stems of a handful of songs, on a CPU."""

from __future__ import annotations

from typing import Any

from audiform.augment import AugmentStep
from audiform.augment.absent import AbsentConfig
from audiform.augment.channel_swap import ChannelSwapConfig
from audiform.augment.peak_level import PeakLevelConfig
from audiform.augment.polarity import PolarityConfig
from audiform.nn.magnitude_masks import MagnitudeMaskConfig
from audiform.recipes.separation import SeparationRun
from audiform.recipes.stems import SeparationData
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.schedule import CosineSchedule
from audiform.training.separation import SeparationLossConfig

#: The relative error of spectra; the absolute error diverges at these rates (docs/log.md).
RELATIVE_SPECTRA = SeparationLossConfig(l1=0.0, relative=1.0, relative_size=(2048, 512))

#: The same of what masks leave, for networks that mask magnitudes.
RELATIVE_MASKED = SeparationLossConfig(l1=0.0, relative=1.0, at_masks=True)


def few_songs_run(
    architecture: str,
    network: Any,
    *,
    max_seconds: float,
    learning_rate: float = 2e-3,
    warmup_steps: int = 100,
) -> SeparationRun:
    """Return a run of ``max_seconds``: mixtures of 3 s, four a step.

    Nine of ten mixtures are of stems of unrelated songs at like loudness, as a handful of songs
    has few mixtures of its own.
    """
    augmentations: tuple[AugmentStep, ...] = (
        AbsentConfig(share=0.1),
        ChannelSwapConfig(),
        PolarityConfig(),
    )
    loss = RELATIVE_SPECTRA
    if isinstance(network, MagnitudeMaskConfig):
        level = PeakLevelConfig(n_fft=network.n_fft, hop_length=network.hop_length)
        augmentations = (*augmentations, level)
        loss = RELATIVE_MASKED
    return SeparationRun(
        architecture=architecture,
        network=network,
        training=TrainingConfig(
            seed=0,
            batch_size=4,
            max_seconds=max_seconds,
            steps_per_epoch=500,
            optimizer="adamw",
            learning_rate=learning_rate,
            betas=(0.9, 0.99),
            weight_decay=1e-2,
            max_gradient_norm=5.0,
            schedule=CosineSchedule(warmup_steps=warmup_steps),
            averages=(AverageConfig(decay=0.998),),
            precision="bfloat16",
            num_workers=1,
        ),
        data=SeparationData(
            segment_seconds=3.0,
            group_size=4,
            unrelated_share=0.9,
            trials=5,
            balance_db=4.5,
            validation_seconds=60.0,
        ),
        augmentations=augmentations,
        loss=loss,
    )
