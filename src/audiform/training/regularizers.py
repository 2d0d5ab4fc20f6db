"""Penalties on weights, whatever the network is trained for."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from audiform.errors import ConfigError

BYTES_PER_MB = 2**20


class SingularValueConfig(BaseModel):
    """A penalty on the largest singular value of each large weight, estimated at low rank.

    ``rank`` random directions are improved by ``iterations`` rounds of the power method.
    Weights above ``min_size_mb`` (as float32) count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    penalty: NonNegativeFloat = 1e-5
    rank: PositiveInt = 4
    iterations: NonNegativeInt = 2
    min_size_mb: NonNegativeFloat = 0.1


def largest_singular_value(
    matrix: Float[Tensor, "rows columns"],
    generator: torch.Generator,
    *,
    rank: int,
    iterations: int,
) -> Float[Tensor, ""]:
    """Estimate the largest singular value from below; its gradient is that of the estimate.

    Randomised range finder with power iterations, N. Halko, P. G. Martinsson, J. A. Tropp,
    "Finding Structure with Randomness", SIAM Review 2011, algorithm 4.4. Exact where ``rank``
    is that of the matrix. The vectors of the pair count as constants: where they are exact, so
    is the gradient.
    """
    with torch.no_grad():
        fixed = matrix.detach()
        rank = min(rank, *fixed.shape)
        start = torch.randn(fixed.shape[1], rank, generator=generator).to(fixed)
        basis = torch.linalg.qr(fixed @ start).Q
        for _ in range(iterations):
            basis = torch.linalg.qr(fixed @ torch.linalg.qr(fixed.T @ basis).Q).Q
        left, _, right = torch.linalg.svd(basis.T @ fixed, full_matrices=False)
        left = basis @ left[:, 0]
        right = right[0]
    return left @ matrix @ right


def singular_value_penalty(
    network: nn.Module, config: SingularValueConfig, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Return ``penalty`` times the sum of the squared largest singular values.

    Hybrid Demucs, arXiv:2111.03600, after Y. Yoshida and T. Miyato, arXiv:1705.10941. A weight
    of more than two axes is read as (first axis, all others), which for a convolution is
    (channels out, channels in x kernel). Raises :class:`ConfigError` where no weight is large
    enough to count.
    """
    weights = [
        weight
        for weight in network.parameters()
        if weight.requires_grad
        and weight.ndim >= 2
        and weight.numel() * 4 > config.min_size_mb * BYTES_PER_MB
    ]
    if not weights:
        raise ConfigError(
            f"singular_values counts weights above {config.min_size_mb} MB, and the network has "
            "none; lower singular_values.min_size_mb"
        )
    largest = [
        largest_singular_value(
            weight.flatten(1), generator, rank=config.rank, iterations=config.iterations
        )
        for weight in weights
    ]
    return config.penalty * torch.stack(largest).square().sum()
