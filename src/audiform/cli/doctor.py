"""``audiform doctor``: what this installation is and can do, for people and for bug reports."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiform.cli.exit_codes import SOME_FAILED

if TYPE_CHECKING:
    import torch

_LIBRARIES = (
    "torch", "numpy", "av", "soundfile", "soxr", "safetensors", "huggingface-hub", "pydantic",
    "typer", "rich", "einops",
)  # fmt: skip


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the installation: versions, devices, codecs, the model in the package, folders."""
    findings = _findings()
    if as_json:
        print(json.dumps(findings, indent=2))
    else:
        _print(findings)
    if findings["problems"]:
        raise typer.Exit(SOME_FAILED)


def _findings() -> dict[str, Any]:
    import torch

    from audiform import __version__
    from audiform.checkpoints import cache_folder, verify
    from audiform.errors import AudiformError
    from audiform.inference.device import choose_device
    from audiform.io import WRITERS

    problems: list[str] = []
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{library} is missing: install audiform again")
    device = choose_device()
    try:
        verify("default")
        default_model = "whole"
    except AudiformError as error:
        default_model = "unusable"
        problems.append(str(error))
    cache = cache_folder()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        problems.append(f"{cache} cannot be written: set AUDIFORM_CACHE to a folder that can")
    return {
        "audiform": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "device": f"{device.device} ({device.reason})",
        "backends": _backends(device.device),
        "libraries": versions,
        "formats": sorted(WRITERS),
        "default_model": default_model,
        "cache": str(cache),
        "problems": problems,
    }


def _backends(device: torch.device) -> list[str]:
    """Return what can run networks on this machine, and in which precisions."""
    from audiform.inference.backends.openvino import has_openvino, openvino_precisions
    from audiform.inference.backends.torch_eager import torch_precisions

    found = [f"torch ({' '.join(torch_precisions(device))})"]
    if has_openvino():
        version = importlib.metadata.version("openvino")
        found.append(f"openvino {version} ({' '.join(openvino_precisions())}, cpu)")
    return found


def _print(findings: dict[str, Any]) -> None:
    for key, value in findings.items():
        if key == "problems":
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{name} {version}" for name, version in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        print(f"{key.replace('_', ' '):14} {value}")
    for problem in findings["problems"]:
        print(f"problem: {problem}")
    if not findings["problems"]:
        print("all is well")
