"""Weights that learn how many bits they need.

A. Défossez, Y. Adi, G. Synnaeve, "Differentiable Model Compression via Pseudo Quantization
Noise", arXiv:2104.09987 (DiffQ). While a network trains, its weights are not rounded: they get
uniform noise as large as the rounding error would be (section 3.1), for each group of a few
weights that of its own number of bits. The noise has a gradient for the bits, which the size
of the network in MB, times a penalty, pulls down (section 3.3). Nothing is passed straight
through a rounding.

Differs from the paper in two things: the range of a tensor counts as a constant (no gradient
flows to its smallest and largest weight by way of the step), and the size counts what a
checkpoint takes besides the levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from torch import Tensor, nn

from audiform.checkpoints.packed_weights import packed_weight_bytes, quantised
from audiform.errors import ConfigError

BYTES_PER_MB = 2**20


class QuantiserConfig(BaseModel):
    """How a network learns to be small.

    Parameters above ``min_size_mb`` (as float32) are quantised, in groups of ``group_size``
    consecutive weights with ``min_bits`` to ``max_bits`` each. ``penalty`` is what a MB costs,
    in units of the loss. The bits' learning rate is ``rate_factor`` times that of the weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    group_size: PositiveInt = 8
    min_bits: int = Field(2, ge=1, le=15)
    max_bits: int = Field(15, ge=2, le=16)
    initial_bits: float = 8.0
    min_size_mb: NonNegativeFloat = 0.01
    penalty: NonNegativeFloat = 0.1
    rate_factor: PositiveFloat = 10.0

    @model_validator(mode="after")
    def _in_order(self) -> QuantiserConfig:
        if not self.min_bits < self.initial_bits < self.max_bits:
            raise ValueError(
                f"initial_bits = {self.initial_bits} must lie between min_bits = {self.min_bits} "
                f"and max_bits = {self.max_bits}"
            )
        return self


class PseudoQuantiser(nn.Module):
    """The bits of a network's weights, as parameters.

    They are logits: ``bits = min_bits + sigmoid(logit) * (max_bits - min_bits)``, one for each
    group. The network itself is not a part of this module and not changed by it, except
    within :meth:`noise` and :meth:`rounded`.
    """

    def __init__(self, network: nn.Module, config: QuantiserConfig) -> None:
        super().__init__()
        self.config = config
        self.names = tuple(
            name
            for name, weight in network.named_parameters()
            if weight.numel() * 4 > config.min_size_mb * BYTES_PER_MB
        )
        if not self.names:
            raise ConfigError(
                f"the network has no parameter above {config.min_size_mb} MB, so there is nothing "
                "to quantise; lower min_size_mb"
            )
        weights = dict(network.named_parameters())
        share = (config.initial_bits - config.min_bits) / (config.max_bits - config.min_bits)
        start = torch.logit(torch.tensor(share)).item()
        self.logits = nn.ParameterList(
            torch.full((-(-weights[name].numel() // config.group_size),), start)
            for name in self.names
        )
        self.other_bytes = 4 * sum(
            weight.numel() for name, weight in weights.items() if name not in self.names
        )

    def real_bits(self, index: int) -> Float[Tensor, " group"]:
        """Return the bits of each group of the parameter ``names[index]``, not rounded."""
        spread = self.config.max_bits - self.config.min_bits
        return self.config.min_bits + torch.sigmoid(self.logits[index]) * spread

    def bits(self) -> dict[str, Int[Tensor, " group"]]:
        """Return the bits of each group as whole numbers, as ``write_checkpoint`` takes them."""
        return {
            name: self.real_bits(index).detach().round().long().cpu()
            for index, name in enumerate(self.names)
        }

    def size_mb(self) -> Float[Tensor, ""]:
        """Return the size of the network in MB; it has a gradient for the bits.

        That is levels and unquantised parameters as float32, without what names the bits.
        """
        levels = torch.cat([self.real_bits(index) for index in range(len(self.names))]).sum()
        return (levels * self.config.group_size / 8 + self.other_bytes) / BYTES_PER_MB

    def true_size_mb(self, *, half: bool = False) -> float:
        """Return what a checkpoint's tensors will take in MB, with all that they need.

        ``half`` as of ``write_checkpoint``; the header, some 200 bytes for each tensor, is
        not in it.
        """
        packed = sum(
            packed_weight_bytes(bits, group_size=self.config.group_size)
            for bits in self.bits().values()
        )
        return (packed + self.other_bytes / (2 if half else 1)) / BYTES_PER_MB

    def penalty(self) -> Float[Tensor, ""]:
        """Return what to add to the loss: the size in MB times the configured penalty."""
        return self.config.penalty * self.size_mb()

    @contextmanager
    def noise(self, network: nn.Module, generator: torch.Generator) -> Iterator[None]:
        """Let ``network`` have noisy weights within; gradients go to weights and bits."""

        def noisy(index: int, weight: Tensor) -> Tensor:
            low, high = weight.detach().aminmax()
            step = (high - low) / (2.0 ** self.real_bits(index) - 1.0)
            shape = (len(step), self.config.group_size)
            uniform = torch.rand(shape, generator=generator, device=generator.device)
            noise = step[:, None] * (uniform.to(step.device) - 0.5)
            return weight + noise.reshape(-1)[: weight.numel()].reshape(weight.shape)

        with self._exchanged(network, noisy):
            yield

    @contextmanager
    def rounded(self, network: nn.Module) -> Iterator[None]:
        """Let ``network`` have the weights within that its checkpoint will be read with."""
        bits = self.bits()

        def rounded(index: int, weight: Tensor) -> Tensor:
            values = quantised(weight, bits[self.names[index]], group_size=self.config.group_size)
            return values.to(weight.device)

        with self._exchanged(network, rounded):
            yield

    @contextmanager
    def _exchanged(
        self, network: nn.Module, change: Callable[[int, Tensor], Tensor]
    ) -> Iterator[None]:
        """Put changed tensors where the parameters are, wherever they are shared, and back."""
        parameters = dict(network.named_parameters())
        changed = {
            id(parameters[name]): change(index, parameters[name])
            for index, name in enumerate(self.names)
        }
        places = [
            (module, name, parameter)
            for module in network.modules()
            for name, parameter in module._parameters.items()
            if id(parameter) in changed
        ]
        try:
            for module, name, parameter in places:
                _put(module, name, changed[id(parameter)])
            yield
        finally:
            for module, name, parameter in places:
                _put(module, name, parameter)


def _put(module: nn.Module, name: str, value: Tensor | None) -> None:
    """Set a parameter to any tensor; ``setattr`` takes parameters only."""
    module._parameters[name] = value  # type: ignore[assignment]
    if isinstance(module, nn.RNNBase):  # it keeps a second list
        module._flat_weights = [getattr(module, key) for key in module._flat_weights_names]
