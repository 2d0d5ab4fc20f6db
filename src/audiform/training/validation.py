"""How good a network is while it trains: scores, and something to listen to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from audiform.audio import Audio
from audiform.metrics.separation import sdr
from audiform.training.examples import Batch, Examples, on_device
from audiform.training.handshake import check_examples
from audiform.training.objective import Objective, full_precision, separate_in_training
from audiform.training.separation import SeparationObjective, mixture_of

#: A stem whose mean square is below this is silent: it has no SDR.
SILENT_POWER = 1e-8


@dataclass(frozen=True)
class Validation:
    """Scores by name, and excerpts for TensorBoard by name."""

    scores: dict[str, float]
    excerpts: dict[str, Audio] = field(default_factory=dict)


class Validator(Protocol):
    """Scores a network, which is in evaluation mode, without gradients.

    The trainer calls it in every process, and counts what the main one finds.
    """

    def __call__(self, network: nn.Module) -> Validation:
        """Return the scores of ``network``; the same ones every time."""
        ...


@dataclass(frozen=True)
class LossValidator:
    """The terms of an objective over an epoch of examples that are not trained on."""

    objective: Objective
    examples: Examples

    def __post_init__(self) -> None:
        check_examples(self.examples, what="validation")

    def __call__(self, network: nn.Module) -> Validation:
        """Return the mean of each term."""
        generator = torch.Generator().manual_seed(0)
        sums: dict[str, float] = {}
        for batch in _draws(self.examples, network):
            for name, term in self.objective(network, batch, generator).items():
                sums[name] = sums.get(name, 0.0) + term.item()
        return Validation({name: value / self.examples.draws_per_epoch
                           for name, value in sums.items()})  # fmt: skip


@dataclass(frozen=True)
class SegmentValidator:
    """Losses and the SDR of each source, over an epoch of segments that are not trained on.

    The SDR is the mean over segments in which the source is not silent; "sdr" is the mean over
    sources. The first item of the first draw is the excerpt.
    """

    objective: SeparationObjective
    examples: Examples
    sources: tuple[str, ...]
    sample_rate: int

    def __post_init__(self) -> None:
        check_examples(self.examples, what="validation")

    def __call__(self, network: nn.Module) -> Validation:
        """Return "loss" and its parts, "sdr" and "sdr_SOURCE"."""
        losses: dict[str, list[float]] = {}
        ratios: dict[str, list[float]] = {}
        excerpts: dict[str, Audio] = {}
        for batch in _draws(self.examples, network):
            mixture, stems = mixture_of(batch), batch["stems"]
            estimate = separate_in_training(network, mixture)
            with full_precision(mixture.device):
                for name, term in self.objective.losses(estimate=estimate, reference=stems).items():
                    losses.setdefault(name, []).append(term.item())
            self._collect(ratios, estimate=estimate, reference=stems)
            if not excerpts:
                excerpts = self._excerpts(mixture=mixture[0], estimate=estimate[0])
        scores = {name: _mean(values) for name, values in losses.items()}
        by_source = {f"sdr_{name}": _mean(values) for name, values in ratios.items()}
        if by_source:
            scores["sdr"] = _mean(list(by_source.values()))
        return Validation({**scores, **by_source}, excerpts)

    def _collect(
        self, ratios: dict[str, list[float]], *, estimate: Tensor, reference: Tensor
    ) -> None:
        found = sdr(estimate=estimate, reference=reference)
        sounding = reference.square().mean(dim=(2, 3)) > SILENT_POWER
        for index, source in enumerate(self.sources):
            ratios.setdefault(source, []).extend(found[sounding[:, index], index].tolist())
            if not ratios[source]:
                del ratios[source]

    def _excerpts(self, *, mixture: Tensor, estimate: Tensor) -> dict[str, Audio]:
        audio = {"mixture": mixture, **dict(zip(self.sources, estimate, strict=True))}
        return {
            name: Audio(samples.float().cpu(), self.sample_rate) for name, samples in audio.items()
        }


def _draws(examples: Examples, network: nn.Module) -> Iterator[Batch]:
    device = next(network.parameters()).device
    for draw in range(examples.draws_per_epoch):
        yield on_device(examples(draw), device)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
