"""Which device runs the network, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from audiform.errors import DeviceError


@dataclass(frozen=True)
class ChosenDevice:
    """A device that was found to work, and the reason for it, for people to read."""

    device: torch.device
    reason: str


def choose_device(wanted: str = "auto") -> ChosenDevice:
    """Return the device ``wanted``, or the best one present for ``auto``: cuda, mps, cpu.

    Raises :class:`DeviceError` for a device that is not there; never falls back in silence.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            name = torch.cuda.get_device_name(0)
            return ChosenDevice(torch.device("cuda"), f"auto: found {name}")
        if torch.backends.mps.is_available():
            return ChosenDevice(torch.device("mps"), "auto: found Apple's Metal")
        return ChosenDevice(torch.device("cpu"), f"auto: {_why_no_gpu()}")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise DeviceError(
            f"device {wanted!r} was asked for, which is no device name; "
            "use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise DeviceError(
            f"device {wanted!r} was asked for, but {_why_no_gpu(device.index)}; install a CUDA "
            "build of PyTorch and a driver that fits it, or use --device cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps' was asked for, but there is no Metal device; use cpu")
    return ChosenDevice(device, "as asked for")


def _why_no_gpu(index: int | None = None) -> str:
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA"
    if not torch.cuda.is_available():
        return "PyTorch finds no usable NVIDIA GPU or driver"
    if index is not None:
        return f"there are only {torch.cuda.device_count()} GPUs"
    return "no GPU is present"
