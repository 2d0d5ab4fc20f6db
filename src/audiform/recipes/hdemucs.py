"""Hybrid Demucs: spectrum and waveform, as at the Music Demixing Challenge 2021."""

from __future__ import annotations

from fractions import Fraction

from audiform.augment.channel_swap import ChannelSwapConfig
from audiform.augment.polarity import PolarityConfig
from audiform.augment.repitch import RepitchConfig
from audiform.augment.shift import ShiftConfig
from audiform.models.hdemucs import HDemucsConfig
from audiform.recipes.demucs import PUBLISHED_AUGMENTATIONS, PUBLISHED_SEGMENT_SECONDS
from audiform.recipes.separation import SeparationRun
from audiform.recipes.start import StartConfig
from audiform.recipes.stems import SeparationData
from audiform.recipes.tiny import tiny_form
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.regularizers import SingularValueConfig
from audiform.training.schedule import ConstantSchedule

#: Averages of the weights in the published runs from 2021 on; the best one is kept.
PUBLISHED_AVERAGES = (
    AverageConfig(decay=0.9, every="epoch"),
    AverageConfig(decay=0.95, every="epoch"),
    AverageConfig(decay=0.9995),
    AverageConfig(decay=0.9999),
)

#: Network and penalty of the tiny forms.
TINY_NETWORK = {
    "hidden_channels": 4,
    "n_fft": 256,
    "depth": 4,
    "norm_starts": 2,
    "norm_groups": 2,
    "branch_attention_starts": 2,
    "branch_lstm_starts": 3,
    "branch_initial_gain": 0.1,
    "segment_seconds": Fraction(1, 2),
}
TINY_PENALTY = {"training.singular_values.min_size_mb": 0.001}


def hdemucs() -> SeparationRun:
    """Train Hybrid Demucs on MUSDB18-HQ: 600 epochs on 8 GPUs.

    A. Défossez, "Hybrid Spectrogram and Waveform Source Separation", arXiv:2111.03600. To
    reach: 7.64 dB of SDR (BSSEval v4, median) over all stems of the MUSDB18-HQ test set for one
    network (arXiv:2211.08553, table 1); 7.68 dB is the bag of the paper. Originally on 8 V100
    GPUs.

    The settings of the published package's ``grids/repro.py``, with which it repeats the
    challenge's models: 600 epochs, ``svd.penalty=1e-5 svd=base2`` (which raises the second beta
    of Adam to 0.9998), averages over batches and epochs. ``hdemucs-ft`` follows it.
    """
    return SeparationRun(
        architecture="hdemucs",
        network=HDemucsConfig(branch_initial_gain=1e-3),
        training=TrainingConfig(
            seed=42,
            batch_size=64,
            max_epochs=600,
            optimizer="adam",
            learning_rate=3e-4,
            betas=(0.9, 0.9998),
            schedule=ConstantSchedule(),
            averages=PUBLISHED_AVERAGES,
            singular_values=SingularValueConfig(
                penalty=1e-5, rank=100, iterations=4, min_size_mb=1.0
            ),
            num_workers=10,
        ),
        data=SeparationData(segment_seconds=PUBLISHED_SEGMENT_SECONDS),
        augmentations=PUBLISHED_AUGMENTATIONS,
    )


def hdemucs_tiny() -> SeparationRun:
    """Train Hybrid Demucs with four levels and few channels: seconds on a CPU."""
    return tiny_form(hdemucs(), network=TINY_NETWORK, settings=TINY_PENALTY)


def hdemucs_ft() -> SeparationRun:
    """Fine-tune Hybrid Demucs on mixes that fit together: 4 epochs on 8 GPUs (--from).

    arXiv:2111.03600, section 4: mixes of unrelated songs, brought to one tempo and key, so that
    the network does not lean on melodies that belong together. The data folder holds such mixes.
    No figure of this stage alone is published for one network.

    The package's ``grids/repro_ft.py``: 4 epochs, batch 16, Adam 1e-4 (6e-4 for the challenge's
    own models, ``conf/variant/finetune.yaml``), segments of 28 s (22.64 s are left), a shift of
    2 s, alike for the stems of a mix, no exchange of stems, no gains. Originally on 8 GPUs.
    """
    first = hdemucs()
    return first.model_copy(
        update={
            "network": HDemucsConfig(branch_initial_gain=1e-3, segment_seconds=Fraction(44)),
            "training": first.training.model_copy(
                update={"batch_size": 16, "max_epochs": 4, "learning_rate": 1e-4}
            ),
            "data": SeparationData(segment_seconds=22.64, stride_seconds=2.0, group_size=1),
            "augmentations": (
                RepitchConfig(share=0.2, max_tempo_percent=12.0),
                ShiftConfig(seconds=2.0, together=True),
                ChannelSwapConfig(),
                PolarityConfig(),
            ),
            "start": StartConfig(),
        }
    )


def hdemucs_ft_tiny() -> SeparationRun:
    """Fine-tune what hdemucs-tiny leaves (--from): seconds on a CPU."""
    return tiny_form(hdemucs_ft(), network=TINY_NETWORK, settings=TINY_PENALTY)
