"""Small networks of the Demucs family that learn a few songs on a laptop."""

from __future__ import annotations

from fractions import Fraction

from audiform.models.hdemucs import HDemucsConfig
from audiform.models.htdemucs import HTDemucsConfig
from audiform.recipes.few_songs import few_songs_run
from audiform.recipes.separation import SeparationRun
from audiform.recipes.tiny import tiny_form


def htdemucs_small() -> SeparationRun:
    """Train a small HT Demucs on a few songs: half an hour on two CPU cores.

    Ours, without a published figure; what it reached: docs/guide/recipes.md. For a handful of
    songs with stems, one of them held out (``--set data.held_out=["NAME"]``). 3.5 M weights at
    22.05 kHz: half the rate is half the work, and little of a song is above 11 kHz.

    Where it differs from the published runs, and why (docs/log.md): weights begin as torch
    draws them (rescaled ones diverge at 1e-3); no residual branches (they take more than half
    of the time); the relative error of spectra as the loss (the absolute error diverges here);
    stems of unrelated songs at like loudness, as four songs have few mixtures of their own.
    """
    network = HTDemucsConfig(
        sample_rate=22050,
        segment_seconds=Fraction(3),
        n_fft=2048,
        hidden_channels=24,
        encoder_branches=False,
        decoder_branches=False,
        bottom_channels=128,
        transformer_layers=3,
        transformer_heads=4,
        rescale_reference=0.0,
    )
    return few_songs_run("htdemucs", network, max_seconds=1650.0, warmup_steps=30)


def htdemucs_small_tiny() -> SeparationRun:
    """Train the tiny form of it: seconds on a CPU."""
    return tiny_form(
        htdemucs_small(),
        network={
            "hidden_channels": 4,
            "n_fft": 1024,
            "depth": 3,
            "bottom_channels": 16,
            "transformer_heads": 2,
            "transformer_layer_scale": False,
            "segment_seconds": Fraction(1, 2),
        },
    )


def hdemucs_small() -> SeparationRun:
    """Train a small Hybrid Demucs on a few songs, to be compared with ``htdemucs-small``.

    Ours, without a published figure: the same rate, songs, loss and augmentation. One level
    less deep than the published network, without branches in its layers, frames of 46 ms.
    """
    network = HDemucsConfig(
        sample_rate=22050,
        segment_seconds=Fraction(3),
        n_fft=1024,
        depth=5,
        hidden_channels=24,
        encoder_branches=False,
        rescale_reference=0.0,
    )
    return few_songs_run("hdemucs", network, max_seconds=1650.0, warmup_steps=30)


def hdemucs_small_tiny() -> SeparationRun:
    """Train the tiny form of it: seconds on a CPU."""
    return tiny_form(
        hdemucs_small(),
        network={
            "hidden_channels": 4,
            "n_fft": 256,
            "depth": 4,
            "norm_starts": 2,
            "norm_groups": 2,
            "segment_seconds": Fraction(1, 2),
        },
    )
