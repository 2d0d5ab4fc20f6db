"""Runs of the Frame Primer: pretraining on music, and the removal of vocals."""

from __future__ import annotations

from audiform.models.frame_primer import FramePrimerConfig
from audiform.recipes.few_songs import few_songs_run
from audiform.recipes.music import MusicData
from audiform.recipes.pretraining import PretrainingRun
from audiform.recipes.separation import SeparationRun
from audiform.recipes.settings import with_settings
from audiform.recipes.tiny import SHORT_VALIDATION, TINY_FRAMES, TINY_NETWORK, tiny_form
from audiform.recipes.vocal_removal import VocalRemovalRun
from audiform.recipes.vocals import VocalsData
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.frame_pretraining import FramePretrainingConfig
from audiform.training.masking import MaskingConfig
from audiform.training.next_segment import NextSegmentConfig
from audiform.training.schedule import CosineSchedule, LinearSchedule

#: 3.4 M weights at 22.05 kHz: transformers where there are at most 256 bins.
SMALL_NETWORK = FramePrimerConfig(
    sample_rate=22050,
    n_fft=2048,
    hop_length=1024,
    segment_frames=64,
    context_frames=32,
    hidden_channels=4,
    num_layers=1,
    transformer_bins=256,
    num_heads=4,
    feed_forward_width=256,
    position_reach=255,
    compression=0.3,
)

#: The tiny network has fewer bins.
TINY_SMALL_NETWORK = {**TINY_NETWORK, "position_reach": 8, "transformer_bins": 64}

#: Groups of a tiny form, and how much music it takes.
TINY_TASKS = {
    "tasks.masking.group_frames": 4,
    "tasks.next_segment.separator_frames": 4,
    "data.shortest_seconds": 1.0,
    "data.validation_pieces": 4,
}


def frame_primer_pretrain() -> PretrainingRun:
    """Pretrain the Frame Primer on music without stems, as BERT is on text: 30 epochs.

    As published with the text (May 2022; docs/models/frame-primer.md has what differs): masked
    groups of 16 frames and the next segment, pieces of 512 + 512 frames, four a step, AdamW at
    1e-4.
    """
    return PretrainingRun(
        architecture="frame-primer",
        network=FramePrimerConfig(),
        training=TrainingConfig(
            seed=51,
            batch_size=4,
            accumulate=4,
            max_epochs=30,
            optimizer="adamw",
            learning_rate=1e-4,
            weight_decay=1e-2,
            max_gradient_norm=0.5,
            schedule=LinearSchedule(warmup_share=2 / 30, final_factor=1e-3),
            precision="bfloat16",
            best="frames",
            num_workers=4,
        ),
        data=MusicData(segment_frames=1024),
    )


def frame_primer_pretrain_tiny() -> PretrainingRun:
    """Pretrain the tiny form of it: seconds on a CPU."""
    return with_settings(
        frame_primer_pretrain(),
        {
            **TINY_FRAMES,
            **TINY_TASKS,
            "training.accumulate": 1,
            "network.position_reach": 8,
        },
    )


def frame_primer_pretrain_small() -> PretrainingRun:
    """Pretrain a small Frame Primer on a few songs: twenty minutes on one CPU core.

    Ours: what ``frame-primer-small`` begins with. The tasks of the text, groups as long in
    seconds; the error of magnitudes counts ten times, as the other task outweighs it otherwise.
    """
    return PretrainingRun(
        architecture="frame-primer",
        network=SMALL_NETWORK,
        training=TrainingConfig(
            seed=0,
            batch_size=4,
            max_seconds=1200.0,
            steps_per_epoch=200,
            optimizer="adamw",
            learning_rate=1e-3,
            betas=(0.9, 0.99),
            weight_decay=1e-2,
            max_gradient_norm=0.5,
            schedule=CosineSchedule(warmup_steps=50),
            averages=(AverageConfig(decay=0.99),),
            precision="bfloat16",
            best="frames",
            num_workers=1,
        ),
        data=MusicData(segment_frames=256),
        tasks=FramePretrainingConfig(
            masking=MaskingConfig(group_frames=8),
            next_segment=NextSegmentConfig(separator_frames=8),
            mask_weight=10.0,
        ),
    )


def frame_primer_pretrain_small_tiny() -> PretrainingRun:
    """Pretrain the tiny form of it: seconds on a CPU."""
    return with_settings(
        frame_primer_pretrain_small(),
        {
            **TINY_FRAMES,
            **TINY_TASKS,
            **{f"network.{name}": value for name, value in TINY_SMALL_NETWORK.items()},
        },
    )


def frame_primer() -> VocalRemovalRun:
    """Train the Frame Primer to remove vocals, from nothing or (--from) from pretraining.

    As published with the text (May 2022; docs/models/frame-primer.md has what differs): the
    error of masked magnitudes, AdamW at 1e-3 over 42 epochs, pieces of 1024 frames, four a step,
    random voices over instrumentals.
    """
    return VocalRemovalRun(
        architecture="frame-primer",
        network=FramePrimerConfig(),
        training=TrainingConfig(
            seed=51,
            batch_size=4,
            accumulate=4,
            max_epochs=42,
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=1e-2,
            max_gradient_norm=0.5,
            schedule=LinearSchedule(warmup_share=3 / 42, final_factor=1e-4),
            precision="bfloat16",
            num_workers=4,
        ),
        data=VocalsData(segment_frames=1024, stride_seconds=24.0),
    )


def frame_primer_tiny() -> VocalRemovalRun:
    """Train the tiny form of it: seconds on a CPU."""
    return with_settings(
        frame_primer(),
        {
            **TINY_FRAMES,
            **SHORT_VALIDATION,
            "training.accumulate": 1,
            "data.stride_seconds": 0.5,
            "network.position_reach": 8,
        },
    )


def frame_primer_small() -> SeparationRun:
    """Train a small Frame Primer on a few songs, from nothing or (--from) from pretraining.

    Ours: as ``frame-transformer-small``, four stems of 22.05 kHz, with a network that can be
    pretrained by ``frame-primer-pretrain-small``; the catalogue has one.
    """
    network = SMALL_NETWORK.model_copy(
        update={"sources": ("drums", "bass", "other", "vocals"), "rest_source": False}
    )
    return few_songs_run("frame-primer", network, max_seconds=1800.0, learning_rate=1e-3)


def frame_primer_small_tiny() -> SeparationRun:
    """Train the tiny form of it: seconds on a CPU."""
    return tiny_form(frame_primer_small(), network=TINY_SMALL_NETWORK)
