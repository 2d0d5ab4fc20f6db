"""HT Demucs in the published package's names and in ours: options and parameters.

One table each, read in one direction by the importer and in the other by the exporter.
Published names: the package ``demucs`` 4.1.0, class ``demucs.htdemucs.HTDemucs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiform.checkpoints.published_names import (
    HYBRID_DECODER_LAYER,
    HYBRID_ENCODER_LAYER,
    Names,
    OptionTable,
    branch_names,
    branches_of_mode,
    whole_samples,
    within,
)
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
    ("t_dropout", "transformer_dropout", 0.0),
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


OPTIONS = OptionTable(
    title="HT Demucs",
    renamed=RENAMED_OPTIONS,
    fixed=FIXED_OPTIONS,
    ignored=IGNORED_OPTIONS,
    own={"segment": DEFAULT_SEGMENT, "dconv_mode": DEFAULT_BRANCH_MODE},
)


def config_from_options(options: Mapping[str, Any]) -> HTDemucsConfig:
    """Return our configuration for the published keyword arguments.

    Raises :class:`ConfigError` for an option that is unknown, or that our network does not
    have in this value. What remains, pydantic judges.
    """
    values, own = OPTIONS.read(options)
    values["segment_seconds"] = whole_samples(own["segment"], values["sample_rate"])
    return HTDemucsConfig.model_validate(values | branches_of_mode(own["dconv_mode"]))


def options_from_config(config: HTDemucsConfig) -> dict[str, Any]:
    """Return the published keyword arguments for our configuration.

    Raises :class:`ConfigError` for sparse attention: the published code for it needs kernels
    that were never released, and other parameter names.
    """
    if config.sparse is not None:
        raise ConfigError(
            "it has sparse attention, which the published Demucs package cannot run; export it "
            "with sparse = None, the weights are those of a dense network"
        )
    return OPTIONS.write(config) | {
        "sources": list(config.sources),
        "segment": config.segment_seconds,
        "dconv_mode": config.encoder_branches + 2 * config.decoder_branches,
    }


# Beginnings of parameter names, published and ours; # is a number.

_TRANSFORMER_LAYER: Names = (
    ("norm1.", "attention_norm."),
    ("gamma_1.scale", "attention_gain.gain"),
    ("linear1.", "feed_forward.expand."),
    ("linear2.", "feed_forward.contract."),
    ("gamma_2.scale", "feed_forward_gain.gain"),
    ("norm_out.", "norm_out."),
)

_SELF_LAYER: Names = (
    *_TRANSFORMER_LAYER,
    ("self_attn.in_proj_", "attention.query_key_value."),
    ("self_attn.out_proj.", "attention.output."),
    ("norm2.", "feed_forward_norm."),
)

_CROSS_LAYER: Names = (
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
    ("encoder.#.", "spectrum_encoder.#.", HYBRID_ENCODER_LAYER),
    ("tencoder.#.", "waveform_encoder.#.", HYBRID_ENCODER_LAYER),
    ("decoder.#.", "spectrum_decoder.#.", HYBRID_DECODER_LAYER),
    ("tdecoder.#.", "waveform_decoder.#.", HYBRID_DECODER_LAYER),
)

_TRANSFORMER_BRANCHES = (
    ("crosstransformer.layers.#.", "transformer.spectrum_layers.#."),
    ("crosstransformer.layers_t.#.", "transformer.waveform_layers.#."),
)


def parameter_prefixes(config: HTDemucsConfig) -> dict[str, str]:
    """Return the beginning of each parameter's published name and of ours."""
    prefixes = dict(_SINGLE)
    branches = branch_names("dconv.", depth=config.branch_depth)
    for published, ours, layer in _LEVELS:
        for level in map(str, range(config.depth)):
            prefixes |= within(
                published.replace("#", level), ours.replace("#", level), layer + branches
            )
    for published, ours in _TRANSFORMER_BRANCHES:
        for index in range(config.transformer_layers):
            is_cross = index % 2 == (0 if config.transformer_cross_first else 1)
            prefixes |= within(
                published.replace("#", str(index)),
                ours.replace("#", str(index)),
                _CROSS_LAYER if is_cross else _SELF_LAYER,
            )
    return prefixes
