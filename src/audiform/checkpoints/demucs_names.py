"""Demucs in the published package's names and in ours: options and parameters.

Published names: the package ``demucs`` 4.1.0, class ``demucs.demucs.Demucs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiform.checkpoints.published_names import (
    Names,
    OptionTable,
    branch_names,
    branches_of_mode,
    whole_samples,
    within,
)
from audiform.models.demucs import DemucsConfig

OPTIONS = OptionTable(
    title="Demucs",
    renamed=(
        ("audio_channels", "audio_channels", 2),
        ("channels", "hidden_channels", 64),
        ("growth", "growth", 2.0),
        ("depth", "depth", 6),
        ("lstm_layers", "lstm_layers", 0),
        ("kernel_size", "kernel_size", 8),
        ("stride", "stride", 4),
        ("context", "context", 1),
        ("gelu", "gelu", True),
        ("norm_starts", "norm_starts", 4),
        ("norm_groups", "norm_groups", 4),
        ("dconv_depth", "branch_depth", 2),
        ("dconv_comp", "branch_compression", 4),
        ("dconv_attn", "branch_attention_starts", 4),
        ("dconv_lstm", "branch_lstm_starts", 4),
        ("dconv_init", "branch_initial_gain", 1e-4),
        ("normalize", "normalise", True),
        ("resample", "resample", True),
        ("rescale", "rescale_reference", 0.1),
        ("samplerate", "sample_rate", 44100),
    ),
    fixed={"rewrite": True, "glu": True},
    ignored={},
    own={"segment": 40, "dconv_mode": 1},
)


def config_from_options(options: Mapping[str, Any]) -> DemucsConfig:
    """Return our configuration for the published keyword arguments.

    Raises :class:`ConfigError` for an option that is unknown, or that our network does not
    have in this value. What remains, pydantic judges.
    """
    values, own = OPTIONS.read(options)
    values["segment_seconds"] = whole_samples(own["segment"], values["sample_rate"])
    return DemucsConfig.model_validate(values | branches_of_mode(own["dconv_mode"]))


def options_from_config(config: DemucsConfig) -> dict[str, Any]:
    """Return the published keyword arguments for our configuration."""
    return OPTIONS.write(config) | {
        "sources": list(config.sources),
        "segment": config.segment_seconds,
        "dconv_mode": config.encoder_branches + 2 * config.decoder_branches,
    }


# Published layers are numbered steps: residual branches, where there are any, come third.


def _encoder_layer(branches: Names) -> Names:
    gate = 4 if branches else 3
    return (
        ("0.", "convolution."),
        ("1.", "convolution_norm."),
        *branches,
        (f"{gate}.", "gate."),
        (f"{gate + 1}.", "gate_norm."),
    )


def _decoder_layer(branches: Names) -> Names:
    convolution = 4 if branches else 3
    return (
        ("0.", "gate."),
        ("1.", "gate_norm."),
        *branches,
        (f"{convolution}.", "convolution."),
        (f"{convolution + 1}.", "convolution_norm."),
    )


def parameter_prefixes(config: DemucsConfig) -> dict[str, str]:
    """Return the beginning of each parameter's published name and of ours."""
    prefixes = {"lstm.lstm.": "lstm.lstm.", "lstm.linear.": "lstm.output."}
    for level in range(config.depth):
        branches = branch_names(
            "3.",
            depth=config.branch_depth,
            lstm=level >= config.branch_lstm_starts,
            attention=level >= config.branch_attention_starts,
        )
        encoder = _encoder_layer(branches if config.encoder_branches else ())
        decoder = _decoder_layer(branches if config.decoder_branches else ())
        inwards, outwards = f"encoder.{level}.", f"decoder.{config.depth - 1 - level}."
        prefixes |= within(inwards, inwards, encoder) | within(outwards, outwards, decoder)
    return prefixes
