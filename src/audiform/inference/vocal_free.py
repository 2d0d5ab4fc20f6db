"""A network that leaves alone what nobody sings over."""

from __future__ import annotations

import copy

from torch import nn

from audiform.dsp.vocal_free import VocalFreeConfig
from audiform.errors import ConfigError
from audiform.nn.magnitude_masks import MagnitudeMaskModel


def keeping_vocal_free(network: nn.Module, *, name: str) -> nn.Module:
    """Return ``network``, sharing its weights, with stretches free of vocals left as they are.

    It is given as much of the track around a segment as it takes to see a stretch end to end
    where that matters, so that the result does not depend on how a track is cut, nor memory on
    its length. Raises :class:`ConfigError` for a network without a mask of the instruments.
    """
    if not isinstance(network, MagnitudeMaskModel) or not network.config.rest_source:
        raise ConfigError(
            f"{name!r} has no mask that says where nobody sings; stretches without vocals can be "
            "kept with a frame-transformer or frame-primer of two stems, one the rest of the "
            "other (rest_source)"
        )
    config = network.config
    vocal_free = config.vocal_free or VocalFreeConfig()
    kept = copy.copy(network)
    kept.config = config.model_copy(
        update={
            "vocal_free": vocal_free,
            "context_frames": max(config.context_frames, vocal_free.context_frames),
        }
    )
    return kept
