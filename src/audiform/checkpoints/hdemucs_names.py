"""Hybrid Demucs in the published package's names and in ours: options and parameters.

Published names: the package ``demucs`` 4.1.0, class ``demucs.hdemucs.HDemucs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiform.checkpoints.published_names import (
    HYBRID_DECODER_LAYER,
    HYBRID_ENCODER_LAYER,
    OptionTable,
    branch_names,
    branches_of_mode,
    whole_samples,
    within,
)
from audiform.errors import ConfigError
from audiform.models.hdemucs import HDemucsConfig

OPTIONS = OptionTable(
    title="Hybrid Demucs",
    renamed=(
        ("audio_channels", "audio_channels", 2),
        ("channels", "hidden_channels", 48),
        ("growth", "growth", 2),
        ("nfft", "n_fft", 4096),
        ("depth", "depth", 6),
        ("hybrid_old", "late_spectrum", False),
        ("multi_freqs_depth", "banded_levels", 2),
        ("freq_emb", "frequency_embedding", 0.2),
        ("emb_scale", "frequency_embedding_scale", 10),
        ("kernel_size", "kernel_size", 8),
        ("time_stride", "shared_stride", 2),
        ("stride", "stride", 4),
        ("context", "decoder_context", 1),
        ("context_enc", "encoder_context", 0),
        ("norm_starts", "norm_starts", 4),
        ("norm_groups", "norm_groups", 4),
        ("dconv_depth", "branch_depth", 2),
        ("dconv_comp", "branch_compression", 4),
        ("dconv_attn", "branch_attention_starts", 4),
        ("dconv_lstm", "branch_lstm_starts", 4),
        ("dconv_init", "branch_initial_gain", 1e-4),
        ("rescale", "rescale_reference", 0.1),
        ("samplerate", "sample_rate", 44100),
    ),
    fixed={"channels_time": None, "rewrite": True, "hybrid": True},
    ignored={
        "emb_smooth": "initial weights",
        "wiener_residual": "dropped again without iterations",
        "end_iters": "as wiener_iters; the published class insists on it",
    },
    own={"segment": 40, "dconv_mode": 1, "cac": True, "wiener_iters": 0, "multi_freqs": None},
)


def config_from_options(options: Mapping[str, Any]) -> HDemucsConfig:
    """Return our configuration for the published keyword arguments.

    Raises :class:`ConfigError` for an option that is unknown, or that our network does not
    have in this value. What remains, pydantic judges.
    """
    values, own = OPTIONS.read(options)
    values["segment_seconds"] = whole_samples(own["segment"], values["sample_rate"])
    values["spectrum"] = "complex" if own["cac"] else "magnitude"
    iterations = own["wiener_iters"]
    if not own["cac"] and iterations > 0:
        raise ConfigError(
            f"it has wiener_iters = {iterations}, and Hybrid Demucs of audiform exists only "
            "without Wiener filtering, as all published weights; use it with the package that "
            "wrote it"
        )
    values["phase"] = "damped" if iterations < 0 and not own["cac"] else "exact"
    values["band_edges"] = tuple(own["multi_freqs"] or ())
    return HDemucsConfig.model_validate(values | branches_of_mode(own["dconv_mode"]))


def options_from_config(config: HDemucsConfig) -> dict[str, Any]:
    """Return the published keyword arguments for our configuration."""
    iterations = -1 if config.phase == "damped" else 0
    return OPTIONS.write(config) | {
        "sources": list(config.sources),
        "segment": config.segment_seconds,
        "dconv_mode": config.encoder_branches + 2 * config.decoder_branches,
        "cac": config.spectrum == "complex",
        "wiener_iters": iterations,
        "end_iters": iterations,
        "multi_freqs": list(config.band_edges) or None,
    }


def parameter_prefixes(config: HDemucsConfig) -> dict[str, str]:
    """Return the beginning of each parameter's published name and of ours.

    The published encoder is the spectrum's, then the shared one; its decoder the other way.
    """
    prefixes = {"freq_emb.embedding.": "frequency_embedding."}
    levels = config.spectrum_levels
    for level in range(config.depth):
        branches = branch_names(
            "dconv.",
            depth=config.branch_depth,
            lstm=level >= config.branch_lstm_starts,
            attention=level >= config.branch_attention_starts,
        )
        encoder, decoder = HYBRID_ENCODER_LAYER + branches, HYBRID_DECODER_LAYER + branches
        inwards, outwards = f"encoder.{level}.", f"decoder.{config.depth - 1 - level}."
        if level >= levels:
            prefixes |= within(inwards, f"shared_encoder.{level - levels}.", encoder)
            prefixes |= within(outwards, f"shared_decoder.{config.depth - 1 - level}.", decoder)
            continue
        position = levels - 1 - level  # of the layer in our decoders
        for band in range(len(config.band_edges) + 1) if config.is_banded(level) else [None]:
            theirs, ours = ("", "") if band is None else (f"layers.{band}.", f"bands.{band}.")
            prefixes |= within(inwards + theirs, f"spectrum_encoder.{level}.{ours}", encoder)
            prefixes |= within(outwards + theirs, f"spectrum_decoder.{position}.{ours}", decoder)
        prefixes |= within(f"tencoder.{level}.", f"waveform_encoder.{level}.", encoder)
        prefixes |= within(f"tdecoder.{position}.", f"waveform_decoder.{position}.", decoder)
    return prefixes
