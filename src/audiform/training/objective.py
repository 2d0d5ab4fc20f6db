"""What training makes small, wrapped together with the network that it is about.

The trainer hands one module to whatever runs it on several devices, and that module's forward
pass is the loss: so gradients are exchanged even where an objective calls a network's ``core``
and not the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from audiform.errors import ConfigError
from audiform.protocols import SeparationModel
from audiform.training.examples import Batch
from audiform.training.quantise import PseudoQuantiser
from audiform.training.regularizers import SingularValueConfig, singular_value_penalty

#: Keeps the noise of the quantiser apart from what the objective draws.
NOISE_SEED_OFFSET = 500_009


@runtime_checkable
class Objective(Protocol):
    """A loss and its parts."""

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return scalars by name; "loss" is made small, the others are logged.

        Each is a mean over the items of ``batch``, so that it does not matter how a batch is
        shared out. ``generator`` is a function of the seed and the step, and equal in all
        processes and parts of a step: it is for what concerns the weights. What is random for
        an item belongs to the examples.

        It is called in the precision of the run; see :func:`full_precision`.
        """
        ...


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which operations keep float32: for losses and transforms."""
    return torch.autocast(device.type, enabled=False)


def separate_in_training(network: nn.Module, mixture: Tensor) -> Tensor:
    """Run a separation model: its core in the precision of the run, all else in float32."""
    assert isinstance(network, SeparationModel)
    with full_precision(mixture.device):
        analysis = network.analyse(mixture)
    outputs = network.core(*analysis.inputs)
    with full_precision(mixture.device):
        return network.synthesise(tuple(output.float() for output in outputs), analysis)


class LossModule(nn.Module):
    """A network and its objective; the forward pass returns the objective's terms.

    Penalties on the weights are added here, as terms of their own.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        quantiser: PseudoQuantiser | None = None,
        singular_values: SingularValueConfig | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.quantiser = quantiser
        self.singular_values = singular_values

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return the terms of ``batch``; all but "loss" have no gradient."""
        generator = torch.Generator().manual_seed(seed)
        with self._noise(seed):
            terms = dict(self.objective(self.network, batch, generator))
        loss = terms.get("loss")
        if loss is None or loss.ndim:
            raise ConfigError(
                'an objective must return a scalar named "loss", found '
                f"{ {name: tuple(term.shape) for name, term in terms.items()} }"
            )
        penalties: dict[str, Tensor] = {}
        with full_precision(loss.device):
            if self.singular_values is not None:
                penalties["singular_values"] = singular_value_penalty(
                    self.network, self.singular_values, generator
                )
            if self.quantiser is not None:
                penalties["bits"] = self.quantiser.penalty()
            loss = torch.stack([loss.float(), *penalties.values()]).sum()
        logged = {name: term.detach() for name, term in {**terms, **penalties}.items()}
        if self.quantiser is not None:
            logged["size_mb"] = self.quantiser.size_mb().detach()
        return {**logged, "loss": loss}

    @contextmanager
    def _noise(self, seed: int) -> Iterator[None]:
        """Give the network noisy weights within, where bits are learned."""
        if self.quantiser is None or not self.training:
            with nullcontext():
                yield
            return
        generator = torch.Generator().manual_seed(seed + NOISE_SEED_OFFSET)
        with self.quantiser.noise(self.network, generator):
            yield
