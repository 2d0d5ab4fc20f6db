"""Small learned effects in files, and sound to send through them."""

from __future__ import annotations

from pathlib import Path

import torch

from audiform.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from audiform.models import MODELS


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """Return the network with no weight near zero, so that every part counts."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def write_effect(architecture: str, config, path: Path) -> torch.nn.Module:
    """Write an untrained effect to ``path`` and return its network."""
    torch.manual_seed(0)
    network = shaken(MODELS[architecture].network(config))
    write_checkpoint(
        path,
        architecture=architecture,
        config=config,
        state=network.state_dict(),
        knobs=config.knobs,
        sample_rate=config.sample_rate,
    )
    return network


def make_effect(architecture: str, config, folder: Path) -> tuple[torch.nn.Module, Checkpoint]:
    """Return an untrained effect, and its file as it is read."""
    network = write_effect(architecture, config, folder / "effect.safetensors")
    return network, read_checkpoint(folder / "effect.safetensors")


def sound(length: int) -> torch.Tensor:
    """Return noise that swells."""
    noise = torch.randn(1, 1, length, generator=torch.Generator().manual_seed(1))
    return 0.3 * noise * (1 + torch.sin(torch.arange(length) / 40))
