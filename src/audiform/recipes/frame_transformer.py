"""Runs of the Frame Transformer."""

from __future__ import annotations

from audiform.models.frame_transformer import FrameTransformerConfig
from audiform.recipes.few_songs import few_songs_run
from audiform.recipes.separation import SeparationRun
from audiform.recipes.settings import with_settings
from audiform.recipes.tiny import SHORT_VALIDATION, TINY_FRAMES, TINY_NETWORK, tiny_form
from audiform.recipes.vocal_removal import VocalRemovalRun
from audiform.recipes.vocals import VocalsData
from audiform.training.config import TrainingConfig
from audiform.training.schedule import LinearSchedule


def frame_transformer() -> VocalRemovalRun:
    """Train the Frame Transformer: instrumentals with random voices over them, 200 epochs.

    As published with the text (April 2022; docs/models/frame-transformer.md has what differs):
    the error of masked magnitudes, Adam at 1e-3 after four epochs of warm-up, five pieces of
    256 frames a step.
    """
    return VocalRemovalRun(
        architecture="frame-transformer",
        network=FrameTransformerConfig(),
        training=TrainingConfig(
            seed=2019,
            batch_size=5,
            max_epochs=200,
            optimizer="adam",
            learning_rate=1e-3,
            schedule=LinearSchedule(warmup_share=0.02, final_factor=0.1),
            precision="bfloat16",
            num_workers=4,
        ),
        data=VocalsData(segment_frames=256, stride_seconds=6.0),
    )


def frame_transformer_tiny() -> VocalRemovalRun:
    """Train the tiny form of it: seconds on a CPU."""
    return with_settings(
        frame_transformer(), {**TINY_FRAMES, "data.stride_seconds": 0.5, **SHORT_VALIDATION}
    )


def frame_transformer_small() -> SeparationRun:
    """Train a small Frame Transformer on a few songs: an hour on one CPU core.

    Ours, made to be compared with ``htdemucs-small``: the same rate, stems, songs and processor
    time. What it reached: docs/models/frame-transformer.md.
    """
    network = FrameTransformerConfig(
        sources=("drums", "bass", "other", "vocals"),
        rest_source=False,
        sample_rate=22050,
        n_fft=2048,
        hop_length=1024,
        segment_frames=64,
        context_frames=32,
        num_heads=4,
        feed_forward_width=256,
        compression=0.3,
    )
    return few_songs_run("frame-transformer", network, max_seconds=3300.0)


def frame_transformer_small_tiny() -> SeparationRun:
    """Train the tiny form of it: seconds on a CPU."""
    return tiny_form(frame_transformer_small(), network=TINY_NETWORK)
