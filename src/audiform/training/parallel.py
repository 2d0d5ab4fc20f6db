"""One process or several, by way of Accelerate.

Accelerate finds out from the environment (``accelerate launch``, ``torchrun``, Slurm) what
there is: one device, several (DDP), or several that share the weights out (FSDP).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from audiform.errors import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

    from audiform.training.config import TrainingConfig

#: How long processes wait for the main one, which may be preparing data.
PATIENCE = timedelta(hours=12)

#: Precision of the recipe -> Accelerate's name.
PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}

#: Methods of a network that objectives call; sharded weights must be there for them too.
NETWORK_METHODS = ("analyse", "core", "synthesise")


def processes() -> PartialState:
    """Return what is known of this process and the others; the first call joins them.

    Without a GPU, or with ``ACCELERATE_USE_CPU=true``, they train on the CPU.
    """
    try:
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env
    except ImportError as error:
        raise ConfigError(
            f"training needs Accelerate, which cannot be used ({error}); "
            "pip install 'audiform[train]'"
        ) from error
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return PartialState(cpu=on_cpu, timeout=PATIENCE)


@contextmanager
def main_process_first() -> Iterator[None]:
    """Let the main process go through before the others: for files that all will read."""
    with processes().main_process_first():
        yield


def new_accelerator(config: TrainingConfig) -> Accelerator:
    """Return the accelerator of a run.

    Raises :class:`ConfigError` for a precision that the device does not have, or a way of
    sharing weights out that the settings do not go with.
    """
    on_cpu = processes().device.type == "cpu"
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    AcceleratorState._reset_state()  # a run before this one may have had another precision
    try:
        accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=PRECISIONS[config.precision],
            # with layers left out at random, some weights have no gradient in a step
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    except ValueError as error:
        raise ConfigError(
            f"precision {config.precision} cannot be had here ({error}); "
            "--set training.precision=float32"
        ) from error
    if config.precision == "float16" and accelerator.device.type == "cpu":
        raise ConfigError(
            "precision float16 trains on a GPU only; --set training.precision=bfloat16"
        )
    check_sharding(accelerator, config)
    if not accelerator.is_main_process:  # what one says, all would
        logging.getLogger("audiform").setLevel(logging.ERROR)
    return accelerator


def check_sharding(accelerator: Accelerator, config: TrainingConfig) -> None:
    """Raise :class:`ConfigError` where weights are shared out in a way that does not work."""
    from accelerate.utils import DistributedType

    if accelerator.distributed_type in (DistributedType.NO, DistributedType.MULTI_CPU,
                                        DistributedType.MULTI_GPU):  # fmt: skip
        return
    if accelerator.distributed_type != DistributedType.FSDP:
        raise ConfigError(
            f"this trainer runs alone, with DDP or with FSDP, and found "
            f"{accelerator.distributed_type}; change the configuration of `accelerate launch`"
        )
    if not accelerator.is_fsdp2:
        raise ConfigError("FSDP version 1 was asked for; set fsdp_version: 2 (--fsdp_version 2)")
    for name in ("quantiser", "singular_values"):
        if getattr(config, name) is not None:
            raise ConfigError(
                f"training.{name} needs each process to have all weights, and FSDP shares them "
                "out; train with DDP, or without it"
            )


def open_methods(network: nn.Module) -> None:
    """Let a sharded network gather its weights also where it is not called as a whole."""
    from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

    if isinstance(network, FSDPModule):
        for name in NETWORK_METHODS:
            if hasattr(network, name):
                register_fsdp_forward_method(network, name)


def summed(accelerator: Accelerator, values: list[float]) -> list[float]:
    """Return the sums of numbers over all processes."""
    if accelerator.num_processes == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    torch.distributed.all_reduce(tensor)
    return tensor.tolist()


def from_main(accelerator: Accelerator, value: Any) -> Any:
    """Return the main process' value in all of them."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def gradient_norm(
    accelerator: Accelerator, parameters: list[Tensor], max_norm: float | None
) -> float:
    """Scale gradients down to ``max_norm``, return the norm that they had."""
    norm = accelerator.clip_grad_norm_(parameters, float("inf") if max_norm is None else max_norm)
    full = getattr(norm, "full_tensor", None)
    return float(full() if full is not None else norm)
