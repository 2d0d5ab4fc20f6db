"""HT Demucs in the published package's names and in ours: options and parameters.

One table each, read in one direction by the importer and in the other by the exporter.
Published names: the package ``demucs`` 4.1.0, class ``demucs.htdemucs.HTDemucs``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from audiform.errors import ConfigError
from audiform.models.htdemucs import HTDemucsConfig

#: Published option, our field, the published default: both mean the same.
RENAMED_OPTIONS: tuple[tuple[str, str, Any], ...] = (
    ("audio_channels", "audio_channels", 2),
    ("channels", "hidden_channels", 48),
    ("growth", "growth", 2),
    ("nfft", "n_fft", 4096),
    ("depth", "depth", 4),
    ("freq_emb", "frequency_embedding", 0.2),
    ("emb_scale", "frequency_embedding_scale", 10),
    ("kernel_size", "kernel_size", 8),
    ("stride", "stride", 4),
    ("context", "decoder_context", 1),
    ("context_enc", "encoder_context", 0),
    ("norm_starts", "norm_starts", 4),
    ("norm_groups", "norm_groups", 4),
    ("dconv_depth", "branch_depth", 2),
    ("dconv_comp", "branch_compression", 8),
    ("dconv_init", "branch_initial_gain", 1e-3),
    ("bottom_channels", "bottom_channels", 0),
    ("t_layers", "transformer_layers", 5),
    ("t_hidden_scale", "transformer_hidden_scale", 4.0),
    ("t_heads", "transformer_heads", 8),
    ("t_norm_in", "transformer_norm_in", True),
    ("t_norm_out", "transformer_norm_out", True),
    ("t_max_period", "position_max_period", 10000.0),
    ("t_layer_scale", "transformer_layer_scale", True),
    ("t_weight_pos_embed", "position_weight", 1.0),
    ("t_cross_first", "transformer_cross_first", False),
    ("rescale", "rescale_reference", 0.1),
    ("samplerate", "sample_rate", 44100),
)

#: Options that our network knows in one value only: it is refused with another.
FIXED_OPTIONS: Mapping[str, Any] = {
    "channels_time": None,
    "cac": True,
    "rewrite": True,
    "multi_freqs": None,  # an empty list means the same
    "num_subbands": 1,  # of forks; the published network has no subbands
    "t_emb": "sin",
    "t_norm_in_group": False,
    "t_group_norm": False,
    "t_norm_first": True,
    "t_gelu": True,
    "t_sin_random_shift": 0,
    "t_sparse_self_attn": False,
    "t_sparse_cross_attn": False,
    "use_train_segment": True,
}

#: Options that change nothing at inference, given the fixed ones, and the reason.
IGNORED_OPTIONS: Mapping[str, str] = {
    "wiener_iters": "only without cac",
    "end_iters": "only without cac",
    "wiener_residual": "only without cac",
    "multi_freqs_depth": "only with multi_freqs",
    "emb_smooth": "initial weights",
    "time_stride": "only for levels of one frequency",
    "t_dropout": "training",
    "t_max_positions": "only with t_emb = scaled",
    "t_weight_decay": "training",
    "t_lr": "training",
    "t_cape_mean_normalize": "only with t_emb = cape",
    "t_cape_augment": "only with t_emb = cape",
    "t_cape_glob_loc_scale": "only with t_emb = cape",
    "t_mask_type": "only with sparse attention",
    "t_mask_random_seed": "only with sparse attention",
    "t_sparse_attn_window": "only with sparse attention",
    "t_global_window": "only with sparse attention",
    "t_sparsity": "only with sparse attention",
    "t_auto_sparsity": "only with sparse attention",
}

#: The published default of ``dconv_mode``: 1 encoder branches, 2 decoder branches, 3 both.
DEFAULT_BRANCH_MODE = 1

#: The published default of ``segment``, in seconds.
DEFAULT_SEGMENT = 10


def config_from_options(options: Mapping[str, Any]) -> HTDemucsConfig:
    """Return our configuration for the published keyword arguments.

    Raises :class:`ConfigError` for an option that is unknown, or that our network does not
    have in this value. What remains, pydantic judges.
    """
    ours = {name: field for name, field, _ in RENAMED_OPTIONS}
    values: dict[str, Any] = {field: default for _, field, default in RENAMED_OPTIONS}
    segment, branch_mode = DEFAULT_SEGMENT, DEFAULT_BRANCH_MODE
    for name, value in options.items():
        if name in ours:
            values[ours[name]] = value
        elif name == "sources":
            values["sources"] = tuple(value)
        elif name == "segment":
            segment = value
        elif name == "dconv_mode":
            branch_mode = value
        elif name in FIXED_OPTIONS:
            _check_fixed(name, value)
        elif name not in IGNORED_OPTIONS:
            raise ConfigError(
                f"it has the option {name} = {reprlib.repr(value)}, which HT Demucs of audiform "
                "does not know; install a newer audiform"
            )
    if "sources" not in values:
        raise ConfigError("it names no sources; use the file as it was released")
    values["segment_seconds"] = _whole_samples(segment, values["sample_rate"])
    values["encoder_branches"] = bool(branch_mode & 1)
    values["decoder_branches"] = bool(branch_mode & 2)
    return HTDemucsConfig.model_validate(values)


def options_from_config(config: HTDemucsConfig) -> dict[str, Any]:
    """Return the published keyword arguments for our configuration."""
    options: dict[str, Any] = {name: getattr(config, field) for name, field, _ in RENAMED_OPTIONS}
    return options | {
        "sources": list(config.sources),
        "segment": config.segment_seconds,
        "dconv_mode": config.encoder_branches + 2 * config.decoder_branches,
    }


def _check_fixed(name: str, value: Any) -> None:
    expected = FIXED_OPTIONS[name]
    if value == expected or (expected is None and not value):
        return
    raise ConfigError(
        f"it has the option {name} = {reprlib.repr(value)}, and HT Demucs of audiform exists "
        f"only with {name} = {expected!r}; use it with the package that wrote it"
    )


def _whole_samples(segment: Any, sample_rate: Any) -> Any:
    """Return a segment given as a float as the fraction that has as many samples."""
    if isinstance(segment, float) and isinstance(sample_rate, int):
        return Fraction(int(segment * sample_rate), sample_rate)
    return segment


# Beginnings of parameter names, published and ours; # is a number.

_Table = tuple[tuple[str, str], ...]

_ENCODER_LAYER: _Table = (
    ("conv.", "convolution."),
    ("norm1.", "convolution_norm."),
    ("dconv.layers.#.0.", "branches.branches.#.0."),
    ("dconv.layers.#.1.", "branches.branches.#.1."),
    ("dconv.layers.#.3.", "branches.branches.#.3."),
    ("dconv.layers.#.4.", "branches.branches.#.4."),
    ("dconv.layers.#.6.scale", "branches.branches.#.6.gain"),
    ("rewrite.", "gate."),
    ("norm2.", "gate_norm."),
)

_DECODER_LAYER: _Table = (
    ("conv_tr.", "convolution."),
    ("norm2.", "convolution_norm."),
    ("dconv.layers.#.0.", "branches.branches.#.0."),
    ("dconv.layers.#.1.", "branches.branches.#.1."),
    ("dconv.layers.#.3.", "branches.branches.#.3."),
    ("dconv.layers.#.4.", "branches.branches.#.4."),
    ("dconv.layers.#.6.scale", "branches.branches.#.6.gain"),
    ("rewrite.", "gate."),
    ("norm1.", "gate_norm."),
)

_TRANSFORMER_LAYER: _Table = (
    ("norm1.", "attention_norm."),
    ("gamma_1.scale", "attention_gain.gain"),
    ("linear1.", "feed_forward.expand."),
    ("linear2.", "feed_forward.contract."),
    ("gamma_2.scale", "feed_forward_gain.gain"),
    ("norm_out.", "norm_out."),
)

_SELF_LAYER: _Table = (
    *_TRANSFORMER_LAYER,
    ("self_attn.in_proj_", "attention.query_key_value."),
    ("self_attn.out_proj.", "attention.output."),
    ("norm2.", "feed_forward_norm."),
)

_CROSS_LAYER: _Table = (
    *_TRANSFORMER_LAYER,
    ("cross_attn.in_proj_", "attention.query_key_value."),
    ("cross_attn.out_proj.", "attention.output."),
    ("norm2.", "memory_norm."),
    ("norm3.", "feed_forward_norm."),
)

_SINGLE = (
    ("freq_emb.embedding.", "frequency_embedding."),
    ("channel_upsampler.", "spectrum_widen."),
    ("channel_downsampler.", "spectrum_narrow."),
    ("channel_upsampler_t.", "waveform_widen."),
    ("channel_downsampler_t.", "waveform_narrow."),
    ("crosstransformer.norm_in.", "transformer.spectrum_norm."),
    ("crosstransformer.norm_in_t.", "transformer.waveform_norm."),
)

_LEVELS = (
    ("encoder.#.", "spectrum_encoder.#.", _ENCODER_LAYER),
    ("tencoder.#.", "waveform_encoder.#.", _ENCODER_LAYER),
    ("decoder.#.", "spectrum_decoder.#.", _DECODER_LAYER),
    ("tdecoder.#.", "waveform_decoder.#.", _DECODER_LAYER),
)

_TRANSFORMER_BRANCHES = (
    ("crosstransformer.layers.#.", "transformer.spectrum_layers.#."),
    ("crosstransformer.layers_t.#.", "transformer.waveform_layers.#."),
)


def parameter_prefixes(config: HTDemucsConfig) -> dict[str, str]:
    """Return the beginning of each parameter's published name and of ours."""
    prefixes = dict(_SINGLE)
    for published, ours, layer in _LEVELS:
        for level in range(config.depth):
            _add(prefixes, published, ours, layer, level, branches=config.branch_depth)
    for published, ours in _TRANSFORMER_BRANCHES:
        for index in range(config.transformer_layers):
            is_cross = index % 2 == (0 if config.transformer_cross_first else 1)
            layer = _CROSS_LAYER if is_cross else _SELF_LAYER
            _add(prefixes, published, ours, layer, index, branches=1)
    return prefixes


def _add(
    prefixes: dict[str, str],
    published: str,
    ours: str,
    layer: _Table,
    number: int,
    *,
    branches: int,
) -> None:
    for theirs, mine in layer:
        for branch in range(branches if "#" in theirs else 1):
            prefixes[published.replace("#", str(number)) + theirs.replace("#", str(branch))] = (
                ours.replace("#", str(number)) + mine.replace("#", str(branch))
            )


def renamed(name: str, prefixes: Mapping[str, str]) -> str | None:
    """Return ``name`` with its beginning replaced, or None where no beginning fits."""
    for end in range(len(name), 0, -1):
        if name[:end] in prefixes:
            return prefixes[name[:end]] + name[end:]
    return None
