"""The tiny form of a recipe: the same way through the code, in seconds on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audiform.recipes.settings import with_settings

if TYPE_CHECKING:
    from audiform.recipes.separation import SeparationRun

#: How every tiny form is trained.
TINY_TRAINING: dict[str, Any] = {
    "training.seed": 1,
    "training.batch_size": 2,
    "training.max_epochs": None,
    "training.max_seconds": None,
    "training.max_steps": 4,
    "training.steps_per_epoch": None,
    "training.learning_rate": 1e-3,
    "training.log_every_steps": 1,
    "training.num_workers": 0,
    "training.precision": "float32",
    "training.tensorboard": False,
}

#: What a tiny form of a separation run has besides instead of its recipe's.
TINY_SETTINGS: dict[str, Any] = {
    **TINY_TRAINING,
    "data.segment_seconds": 0.5,
    "data.stride_seconds": 0.5,
    "data.group_size": 2,
    "data.validation_seconds": 1.0,
}

#: A tiny network of magnitudes.
TINY_NETWORK: dict[str, Any] = {
    "hidden_channels": 2,
    "n_fft": 512,
    "hop_length": 256,
    "num_heads": 2,
    "feed_forward_width": 8,
    "segment_frames": 40,
    "context_frames": 4,
}

#: What a tiny form of a frame network's run has.
TINY_FRAMES: dict[str, Any] = {
    **TINY_TRAINING,
    **{f"network.{name}": value for name, value in TINY_NETWORK.items()},
    "data.segment_frames": 40,
}

#: What of a held-out song such a run listens to.
SHORT_VALIDATION = {"data.validation_seconds": 1.0}

#: What a kind of augmentation has instead.
TINY_AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "remix": {"group_size": 2},
    "shift": {"seconds": 0.1},
}


def tiny_form(
    recipe: SeparationRun,
    *,
    network: dict[str, Any],
    settings: dict[str, Any] | None = None,
) -> SeparationRun:
    """Return ``recipe`` with a small network and a few short steps; all else is kept.

    ``network`` replaces settings of the network, ``settings`` others by dotted path.
    """
    values = {
        **TINY_SETTINGS,
        **{f"network.{name}": value for name, value in network.items()},
        **{
            f"augmentations.{index}.{name}": value
            for index, step in enumerate(recipe.augmentations)
            for name, value in TINY_AUGMENTATIONS.get(step.kind, {}).items()
        },
        **(settings or {}),
    }
    return with_settings(recipe, values)
