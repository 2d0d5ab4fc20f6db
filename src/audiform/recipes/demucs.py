"""Demucs v2: one U-Net over the waveform."""

from __future__ import annotations

from fractions import Fraction

from audiform.augment.channel_swap import ChannelSwapConfig
from audiform.augment.gain import GainConfig
from audiform.augment.layout import AugmentationConfig
from audiform.augment.polarity import PolarityConfig
from audiform.augment.remix import RemixConfig
from audiform.augment.repitch import RepitchConfig
from audiform.augment.shift import ShiftConfig
from audiform.models.demucs import DemucsConfig
from audiform.recipes.separation import SeparationRun
from audiform.recipes.stems import SeparationData
from audiform.recipes.tiny import tiny_form
from audiform.training.config import TrainingConfig
from audiform.training.schedule import ConstantSchedule

#: What the published runs do to stems, in their order: songs of a group of four change pitch and
#: tempo at times, stems move, swap channels, change polarity and level, and are exchanged.
PUBLISHED_AUGMENTATIONS: tuple[AugmentationConfig, ...] = (
    RepitchConfig(share=0.2, max_tempo_percent=12.0),
    ShiftConfig(seconds=1.0),
    ChannelSwapConfig(),
    PolarityConfig(),
    GainConfig(low=0.25, high=1.25),
    RemixConfig(group_size=4),
)

#: What is left of a segment of 11 s in the published runs: the fastest tempo takes 12 %, the
#: shift one second.
PUBLISHED_SEGMENT_SECONDS = 8.68


def demucs() -> SeparationRun:
    """Train Demucs v2 on MUSDB18-HQ: 360 epochs on 8 GPUs.

    A. Défossez et al., "Music Source Separation in the Waveform Domain", arXiv:1911.13254.
    To reach: 6.3 dB of SDR (BSSEval v4, median) over all four stems of the MUSDB18-HQ test set
    without other songs (README of the published package). Originally on 8 V100 GPUs.

    The published package trains it with ``model=demucs dconv_mode=0 gelu=false lstm_layers=2``
    and 360 epochs (its ``grids/repro.py``), all else by default (``conf/config.yaml``): Adam
    3e-4, batch 64, L1. It has group norms in the two innermost levels, as there; those of the
    paper do not.
    """
    return SeparationRun(
        architecture="demucs",
        network=DemucsConfig(
            hidden_channels=64,
            gelu=False,
            lstm_layers=2,
            encoder_branches=False,
            normalise=False,
        ),
        training=TrainingConfig(
            seed=42,
            batch_size=64,
            max_epochs=360,
            optimizer="adam",
            learning_rate=3e-4,
            schedule=ConstantSchedule(),
            num_workers=10,
        ),
        data=SeparationData(segment_seconds=PUBLISHED_SEGMENT_SECONDS),
        augmentations=PUBLISHED_AUGMENTATIONS,
    )


def demucs_tiny() -> SeparationRun:
    """Train Demucs v2 with three levels and few channels: seconds on a CPU."""
    return tiny_form(
        demucs(),
        network={
            "hidden_channels": 4,
            "depth": 3,
            "norm_starts": 2,
            "segment_seconds": Fraction(1, 2),
        },
    )
