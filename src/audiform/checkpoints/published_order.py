"""The order in which the published networks register their parameters.

Packed quantised states (:mod:`audiform.checkpoints.quantised`) hold no names: parameters come
in the order in which torch visits modules, so the order of the published classes is part of
the file format. A parameter's place follows from its name: a module's own parameters before
those of its children, numbered children by number, all others as listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Children of one module, in the order of their registration. A name stands for the same
#: rank in every module, so one list does for all classes but for the norms of decoders.
_CHILDREN = (
    # networks
    "encoder",
    "decoder",
    "tencoder",
    "tdecoder",
    "lstm",  # also before "linear", in a recurrent branch
    "freq_emb",
    "embedding",
    "channel_upsampler",
    "channel_downsampler",
    "channel_upsampler_t",
    "channel_downsampler_t",
    "crosstransformer",
    # levels
    "conv",
    "conv_tr",
    "first norm",
    "rewrite",
    "second norm",
    "dconv",
    # local attention
    "content",
    "query",
    "key",
    "query_freqs",
    "query_decay",
    "proj",
    # transformers
    "norm_in",
    "norm_in_t",
    "layers",
    "layers_t",
    "self_attn",
    "cross_attn",
    "out_proj",
    "linear",
    "linear1",
    "linear2",
    "norm1",
    "norm2",
    "norm3",
    "norm_out",
    "gamma_1",
    "gamma_2",
)

_CHILD_RANKS = {name: rank for rank, name in enumerate(_CHILDREN)}

#: Inside of a level the norms are named for their place in the encoder; decoders turn it round.
_LEVEL_NORMS = {
    ("encoder", "norm1"): "first norm",
    ("encoder", "norm2"): "second norm",
    ("decoder", "norm1"): "second norm",
    ("decoder", "norm2"): "first norm",
}

_OWN = ("weight", "in_proj_weight", "bias", "in_proj_bias", "scale")

_RECURRENT = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh)_l([0-9]+)(_reverse)?")

_RECURRENT_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def in_published_order(names: Iterable[str]) -> list[str]:
    """Return published parameter names in the order of the published ``named_parameters()``.

    All names must be of one network of the Demucs family.
    """
    return sorted(names, key=_place)


def _place(name: str) -> tuple[tuple[int, ...], ...]:
    *modules, own = name.split(".")
    level = modules[0].removeprefix("t")
    places = [(1, _child_rank(_LEVEL_NORMS.get((level, part), part))) for part in modules]
    return (*places, (0, *_own_rank(own)))


def _child_rank(part: str) -> int:
    return int(part) if part.isdecimal() else _CHILD_RANKS[part]


def _own_rank(own: str) -> tuple[int, ...]:
    recurrent = _RECURRENT.fullmatch(own)
    if recurrent is None:
        return (_OWN.index(own),)
    kind, layer, reverse = recurrent.groups()
    return (int(layer), reverse is not None, _RECURRENT_KINDS.index(kind))
