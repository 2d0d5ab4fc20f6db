"""The optimizer of a run."""

from __future__ import annotations

from typing import Any

import torch

from audiform.errors import ConfigError
from audiform.training.config import TrainingConfig
from audiform.training.objective import LossModule

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def new_optimizer(module: LossModule, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer of what can be learned.

    Vectors (norms, biases) are not decayed. The bits of a quantiser are learned at a rate of
    their own: ``rate_factor`` of their group times that of the weights. Raises
    :class:`ConfigError` where there is nothing to learn.
    """
    bits = [] if module.quantiser is None else list(module.quantiser.parameters())
    known = {id(parameter) for parameter in bits}
    weights = [p for p in module.parameters() if p.requires_grad and id(p) not in known]
    if not weights:
        raise ConfigError(
            "all of the network's weights are frozen; leave some of them requires_grad = True"
        )
    groups: list[dict[str, Any]] = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.quantiser is not None:
        factor = config.quantiser.rate_factor
        groups.append({"params": bits, "weight_decay": 0.0, "rate_factor": factor})
    kind: Any = OPTIMIZERS[config.optimizer]
    return kind(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
    )
