"""Settings of a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from audiform.training.quantise import QuantiserConfig
from audiform.training.regularizers import SingularValueConfig
from audiform.training.schedule import CosineSchedule, Schedule


class AverageConfig(BaseModel):
    """A running average of the weights, updated after each step or each epoch.

    ``decay`` is what an update keeps of it. Demucs averages with 0.9995 and 0.9999 over steps,
    with 0.9 and 0.95 over epochs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decay: float = Field(gt=0.0, lt=1.0)
    every: Literal["step", "epoch"] = "step"

    @property
    def name(self) -> str:
        """What logs and scores call it."""
        return f"average-{self.every}-{self.decay:g}"


class TrainingConfig(BaseModel):
    """How a network is trained; what it is trained on is the recipe's business.

    Length: the run ends after ``max_steps``, ``max_epochs`` or ``max_seconds`` of training time
    (resumed runs go on counting), whichever comes first; the share of it that is spent moves
    the learning rate. An epoch is ``steps_per_epoch``, or as many steps as the data has batches.

    A step: ``batch_size`` items over all processes, in ``accumulate`` parts, so that large
    batches fit. ``precision`` is that of the network alone; losses are computed in float32.
    The gradient is scaled down to ``max_gradient_norm``; matrices (not norms, not biases) lose
    ``weight_decay``.

    Besides the objective, ``singular_values`` keeps the layers' largest ones small, and with a
    ``quantiser`` the network learns how few bits its weights need.

    ``best`` is the score of the validation that picks the weights which a run hands out (the
    greatest of an SDR, the least of anything else); without a validation it is the first of
    ``averages``, or the network as it is where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: NonNegativeInt = 0
    batch_size: PositiveInt = 8
    accumulate: PositiveInt = 1
    max_steps: PositiveInt | None = None
    max_epochs: PositiveInt | None = None
    max_seconds: PositiveFloat | None = None
    steps_per_epoch: PositiveInt | None = None

    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: PositiveFloat = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0
    schedule: Schedule = CosineSchedule()
    max_gradient_norm: PositiveFloat | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    averages: tuple[AverageConfig, ...] = ()
    singular_values: SingularValueConfig | None = None
    quantiser: QuantiserConfig | None = None

    validate_every_epochs: PositiveInt = 1
    best: str = "loss"
    save_every_seconds: PositiveFloat = 180.0
    save_every_steps: PositiveInt | None = None
    log_every_steps: PositiveInt = 20
    tensorboard: bool = True

    num_workers: NonNegativeInt = 1
    prefetch: PositiveInt = 2
    worker_start: Literal["fork", "spawn", "forkserver"] | None = None

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.max_steps is None and self.max_epochs is None and self.max_seconds is None:
            raise ValueError("a run needs an end: set max_steps, max_epochs or max_seconds")
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), found {self.betas}")
        names = [average.name for average in self.averages]
        if len(set(names)) < len(names):
            raise ValueError(f"each of averages must differ from the others, found {names}")
        return self


#: Scores whose names begin so are better the greater they are; all others are errors.
GREATER_IS_BETTER = ("sdr", "si_sdr")

#: Settings that may change when a run resumes. The run's length is one of them: the learning
#: rate then follows the new length from there on. ``accumulate`` changes nothing but rounding.
CHANGEABLE = frozenset(
    {
        "accumulate",
        "log_every_steps",
        "max_epochs",
        "max_seconds",
        "max_steps",
        "num_workers",
        "prefetch",
        "save_every_seconds",
        "save_every_steps",
        "tensorboard",
        "worker_start",
    }
)
