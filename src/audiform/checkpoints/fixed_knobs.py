"""An effect with its knobs left where they are: a network without knobs that sounds the same.

Formats without knobs, such as Neural Amp Modeler's, can have any one setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from audiform.checkpoints.file import Checkpoint
from audiform.errors import ConfigError
from audiform.knob import complete_settings, settings_to_network
from audiform.models.effect_rnn import EffectRNNConfig
from audiform.models.nam_wavenet import NamWaveNetConfig


def fix_knobs(checkpoint: Checkpoint, settings: Mapping[str, float]) -> Checkpoint:
    """Return ``checkpoint`` without knobs: they stand at ``settings``, or at their defaults.

    For networks that add their knobs to biases, ``effect-rnn`` and ``nam-wavenet``. Raises
    :class:`ConfigError` for others, unknown names, values outside a range.
    """
    config = checkpoint.config
    if not isinstance(config, EffectRNNConfig | NamWaveNetConfig):
        raise ConfigError(
            f"{checkpoint.architecture!r} has no form without knobs; export it to torch or onnx, "
            "where the knobs stay"
        )
    if not config.knobs and not settings:
        return checkpoint
    complete = complete_settings(config.knobs, settings)
    positions = settings_to_network(config.knobs, complete)
    state = dict(checkpoint.state)
    if isinstance(config, EffectRNNConfig):
        _fix_recurrent(state, positions)
    else:
        _fix_wavenet(state, positions, config)
    fixed = config.model_copy(update={"knobs": ()})
    return replace(checkpoint, config=fixed, state=state)


def _fix_recurrent(state: dict[str, Tensor], positions: Tensor) -> None:
    weight = state["recurrent.weight_ih_l0"]
    state["recurrent.weight_ih_l0"] = weight[:, :1]
    state["recurrent.bias_ih_l0"] = state["recurrent.bias_ih_l0"] + weight[:, 1:] @ positions


def _fix_wavenet(state: dict[str, Tensor], positions: Tensor, config: NamWaveNetConfig) -> None:
    for index, stack in enumerate(config.stacks):
        name = f"stacks.{index}.condition.weight"
        weight = state[name]
        state[name] = weight[:, :1]
        added = torch.einsum("oki,k->o", weight[:, 1:], positions).chunk(len(stack.dilations))
        for layer, more in enumerate(added):
            bias = f"stacks.{index}.layers.{layer}.convolution.bias"
            state[bias] = state[bias] + more
