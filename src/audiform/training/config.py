"""Settings of a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt

from audiform.training.quantise import QuantiserConfig


class TrainingConfig(BaseModel):
    """How a network is trained; what it is trained on is the recipe's business.

    The run ends after ``max_steps`` or ``max_seconds`` of training time (resumed runs go on
    counting), whichever comes first; the learning rate follows the share of that which is
    spent: up in ``warmup_share`` of the run, then down to zero along a half cosine.
    With a ``quantiser`` the network learns how few bits its weights need.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: NonNegativeInt = 0
    batch_size: PositiveInt = 8
    learning_rate: PositiveFloat = 1.5e-3
    weight_decay: float = 1e-2
    warmup_share: float = 0.02
    max_gradient_norm: PositiveFloat = 5.0
    average_decay: float = 0.999
    max_steps: PositiveInt | None = None
    max_seconds: PositiveFloat | None = None
    save_every_seconds: PositiveFloat = 180.0
    log_every_steps: PositiveInt = 20
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    source_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.5)
    quantiser: QuantiserConfig | None = None
