"""Model, data and settings meet before the first step, so that a run fails in seconds or not."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from audiform.errors import ConfigError, DataError, TrainingError
from audiform.protocols import SeparationSpec
from audiform.training.config import TrainingConfig
from audiform.training.examples import Batch, Examples, Sound, on_device
from audiform.training.objective import LossModule

logger = logging.getLogger(__name__)

#: How many tensors an error names at most.
NAMED_TENSORS = 3


def check_examples(examples: Examples, *, what: str = "training") -> None:
    """Raise :class:`DataError` where there is nothing to draw from."""
    if examples.draws_per_epoch < 1 or examples.draw_size < 1:
        raise DataError(
            f"the {what} data is empty ({examples.draws_per_epoch} draws of "
            f"{examples.draw_size} items); check its folder and what is held out"
        )


def check_draw(examples: Examples, batch: Batch) -> None:
    """Raise :class:`DataError` where a draw is not what was promised, or not all numbers."""
    for name, value in batch.items():
        if value.ndim == 0 or len(value) != examples.draw_size:
            raise DataError(
                f"a draw should hold {examples.draw_size} items, its {name!r} is of shape "
                f"{tuple(value.shape)}; mend the examples"
            )
    broken = _not_finite(batch)
    if broken:
        raise DataError(
            f"a draw holds values that are no numbers in {', '.join(broken)}; "
            "`audiform data check` finds the file"
        )


def check_sound(spec: SeparationSpec, batch: Batch, sound: Sound | None) -> None:
    """Raise :class:`ConfigError` where a separation model and its data do not fit together."""
    if sound is not None and sound.sample_rate != spec.sample_rate:
        raise ConfigError(
            f"the model works at {spec.sample_rate} Hz, the data is read at {sound.sample_rate} "
            "Hz; let one follow the other"
        )
    if sound is not None and sound.sources and sound.sources != spec.sources:
        raise ConfigError(
            f"the model separates {', '.join(spec.sources)}, in this order; the data has "
            f"{', '.join(sound.sources)}; give both the same sources"
        )
    stems = batch.get("stems")
    if stems is None or not stems.is_floating_point():
        return
    wanted = (len(spec.sources), spec.audio_channels)
    if stems.ndim != 4 or tuple(stems.shape[1:3]) != wanted:
        raise ConfigError(
            f"the model separates {wanted[0]} sources of {wanted[1]} channels, the data gives "
            f"stems of shape {tuple(stems.shape[1:])}; change the data's sources or channels"
        )
    if spec.fixed_segment and stems.shape[-1] > spec.segment_samples:
        raise ConfigError(
            f"the model cannot take more than {spec.segment_samples / spec.sample_rate:g} s at "
            f"once, the data has segments of {stems.shape[-1] / spec.sample_rate:g} s; shorten "
            "them, or lengthen the model's segment"
        )
    if spec.fixed_segment and stems.shape[-1] < spec.segment_samples:
        logger.warning(
            "training segments of %g s are shorter than the %g s that the model will be given",
            stems.shape[-1] / spec.sample_rate,
            spec.segment_samples / spec.sample_rate,
        )


def check_space(folder: Path, network: nn.Module, config: TrainingConfig) -> None:
    """Raise :class:`ConfigError` where the disk cannot hold the state twice.

    It is written beside the one before. There are the weights, two values of the optimizer
    for each, one for each average and one for the best so far.
    """
    copies = 4 + len(config.averages)
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    wanted = 2 * copies * size
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise ConfigError(
            f"{folder} has {free / 2**30:.2f} GB free, and the state of this run needs "
            f"{wanted / 2**30:.2f} GB; make room or choose another disk with -o"
        )


def dry_run(
    model: nn.Module, module: LossModule, batch: Batch, *, device: torch.device, seed: int
) -> None:
    """Go forward and backward once, and leave no trace.

    ``model`` is ``module``, or what runs it on several devices. Raises :class:`TrainingError`
    naming what is not finite, :class:`ConfigError` where no weight gets a gradient.
    """
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        terms = model(on_device(batch, device), seed)
        bad = _not_finite(terms)
        if bad:
            raise TrainingError(
                f"before the first step {', '.join(bad)} of the objective is not finite"
                f"{_first_broken_layer(model, module, on_device(batch, device), seed)}; check the "
                "initial weights and the objective"
            )
        terms["loss"].backward()
    gradients = {
        name: parameter.grad
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    if not gradients:
        raise ConfigError("no weight gets a gradient from the objective; nothing can be learned")
    bad = _not_finite(gradients)
    module.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, value in module.named_buffers():
            value.copy_(buffers[name])
    if bad:
        raise TrainingError(
            f"before the first step the gradient of {', '.join(bad)} is not finite; look for a "
            "root or logarithm of zero in the network or the objective"
        )
    learned = [name for name, p in module.named_parameters() if p.requires_grad]
    without = [name for name in learned if name not in gradients]
    if without:
        logger.warning(
            "%d of %d weights got no gradient from the first draw, such as %s",
            len(without), len(learned), without[0],
        )  # fmt: skip


def describe_not_finite(tensors: dict[str, Tensor]) -> str:
    """Name the tensors that are not all numbers, for an error."""
    bad = _not_finite(tensors)
    return ", ".join(bad) if bad else "none of this process' own"


def _not_finite(tensors: dict[str, Tensor]) -> list[str]:
    bad = [
        name
        for name, value in tensors.items()
        if (value.is_floating_point() or value.is_complex()) and not torch.isfinite(value).all()
    ]
    more = [f"{len(bad) - NAMED_TENSORS} more"] if len(bad) > NAMED_TENSORS else []
    return bad[:NAMED_TENSORS] + more


def _first_broken_layer(model: nn.Module, module: LossModule, batch: Batch, seed: int) -> str:
    """Return ", first in the output of NAME", or nothing where no layer is to blame."""
    found: list[str] = []

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def look(_: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and _not_finite({name: output}):
                found.append(name)

        return layer.register_forward_hook(look)

    handles = [watch(name, layer) for name, layer in module.network.named_modules() if name]
    try:
        with torch.no_grad():
            model(batch, seed)
    finally:
        for handle in handles:
            handle.remove()
    return f", first in the output of {found[0]}" if found else ""
