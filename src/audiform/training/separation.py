"""The objective of separation: estimated stems near to true ones."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.dsp.stft import StftSpec, stft
from audiform.errors import ConfigError
from audiform.nn.magnitude_masks import MagnitudeMaskModel
from audiform.training.examples import Batch
from audiform.training.losses import (
    absolute_error,
    magnitude_error,
    relative_error,
    spectral_error,
    squared_error,
)
from audiform.training.objective import full_precision, separate_in_training


class SeparationLossConfig(BaseModel):
    """How much each loss counts; those at 0 are not computed.

    ``l1``, ``l2`` compare waveforms, ``spectral`` magnitudes at several ``spectral_sizes``
    (n_fft, hop_length), ``relative`` complex spectra of ``relative_size``, in units of the
    mixture, ``magnitude`` their magnitudes. ``at_masks`` takes these two from the spectra that
    a network masks, before they become audio: less to compute. ``source_weights`` has one
    entry per source; none means equal ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    l1: NonNegativeFloat = 1.0
    l2: NonNegativeFloat = 0.0
    spectral: NonNegativeFloat = 0.0
    relative: NonNegativeFloat = 0.0
    magnitude: NonNegativeFloat = 0.0
    at_masks: bool = False
    spectral_sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = (
        (4096, 1024), (2048, 512), (1024, 256),
    )  # fmt: skip
    relative_size: tuple[PositiveInt, PositiveInt] = (4096, 1024)
    source_weights: tuple[NonNegativeFloat, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> SeparationLossConfig:
        if not any((self.l1, self.l2, self.spectral, self.relative, self.magnitude)):
            raise ValueError("one of l1, l2, spectral, relative and magnitude must be above 0")
        if self.at_masks and any((self.l1, self.l2, self.spectral)):
            raise ValueError("at_masks goes with relative and magnitude; set the others to 0")
        if self.source_weights is not None and not sum(self.source_weights):
            raise ValueError("one of source_weights must be above 0")
        return self


class SeparationObjective:
    """Losses between a separation model's estimate and the stems of a batch.

    The batch has ``stems`` (item, source, channel, time), sources in the model's order, and
    ``mixture`` (item, channel, time) where it is not their sum.
    """

    def __init__(self, config: SeparationLossConfig | None = None) -> None:
        self.config = config if config is not None else SeparationLossConfig()

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "loss" and its parts, each a mean over items and a weighted one over sources."""
        stems = batch["stems"]
        if self.config.at_masks:
            return self._losses_at_masks(network, mixture_of(batch), stems)
        estimate = separate_in_training(network, mixture_of(batch))
        with full_precision(stems.device):
            return self.losses(estimate=estimate, reference=stems)

    def losses(self, *, estimate: Tensor, reference: Tensor) -> dict[str, Tensor]:
        """Return the terms for stems that are at hand."""
        config = self.config
        terms: dict[str, tuple[float, Tensor]] = {}
        if config.l1:
            terms["l1"] = config.l1, absolute_error(estimate=estimate, reference=reference)
        if config.l2:
            terms["l2"] = config.l2, squared_error(estimate=estimate, reference=reference)
        if config.spectral:
            sizes = config.spectral_sizes
            error = spectral_error(estimate=estimate, reference=reference, sizes=sizes)
            terms["spectral"] = config.spectral, error
        if config.relative or config.magnitude:
            spec = StftSpec(*config.relative_size)
            terms |= self._spectral_terms(stft(estimate, spec), stft(reference, spec))
        return self._means(terms)

    def _losses_at_masks(
        self, network: nn.Module, mixture: Tensor, stems: Tensor
    ) -> dict[str, Tensor]:
        if not isinstance(network, MagnitudeMaskModel):
            raise ConfigError(
                "loss.at_masks compares the spectra of networks that mask magnitudes; this one "
                f"is a {type(network).__name__}, set it to false"
            )
        with full_precision(mixture.device):
            analysis = network.analyse(mixture)
        outputs = network.core(*analysis.inputs)
        with full_precision(mixture.device):
            found = network.masked(outputs, analysis)
            return self._means(self._spectral_terms(found, stft(stems, network.config.stft)))

    def _spectral_terms(self, found: Tensor, wanted: Tensor) -> dict[str, tuple[float, Tensor]]:
        config = self.config
        terms: dict[str, tuple[float, Tensor]] = {}
        if config.relative:
            error = relative_error(estimate=found, reference=wanted)
            terms["relative"] = config.relative, error
        if config.magnitude:
            error = magnitude_error(estimate=found, reference=wanted)
            terms["magnitude"] = config.magnitude, error
        return terms

    def _means(self, terms: dict[str, tuple[float, Tensor]]) -> dict[str, Tensor]:
        config = self.config
        means = {
            name: (weight, weighted_mean(error, config.source_weights))
            for name, (weight, error) in terms.items()
        }
        loss = torch.stack([weight * mean for weight, mean in means.values()]).sum()
        return {"loss": loss, **{name: mean for name, (_, mean) in means.items()}}


def mixture_of(batch: Batch) -> Tensor:
    """Return the mixture of a batch, the sum of its stems unless it brings another."""
    return batch["mixture"] if "mixture" in batch else batch["stems"].sum(dim=1)


def weighted_mean(error: Tensor, source_weights: tuple[float, ...] | None) -> Tensor:
    """Return the mean over items, and over sources by their weights, of (item, source)."""
    means = error.mean(dim=0)
    if source_weights is None:
        return means.mean()
    if len(source_weights) != len(means):
        raise ConfigError(
            f"source_weights has {len(source_weights)} entries for {len(means)} sources; "
            "give one for each"
        )
    weights = torch.tensor(source_weights, device=means.device)
    return means @ weights / weights.sum()
