"""Training of effects on recordings: the loss, and scores on what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from audiform.audio import Audio
from audiform.data.effect_recordings import Take, TakeReader
from audiform.errors import DataError
from audiform.evaluation.effect_scores import run_over
from audiform.knob import Knob
from audiform.metrics.effects import mr_stft, pre_emphasised
from audiform.protocols import EffectModel
from audiform.training.examples import Batch
from audiform.training.objective import full_precision
from audiform.training.validation import Validation

#: What is held out is scored in stretches of at most so many samples.
STRETCH_SAMPLES = 2**18


class EffectLossConfig(BaseModel):
    """Weights of the terms.

    ``esr`` and ``pre_emphasised_esr``: energy of the error over the mean energy of the setting's
    targets, the latter after pre-emphasis; ``mr_stft``: the distance of spectra. Ratios above
    ``saturation`` count as their logarithm, so that one nearly silent recording does not outweigh
    all others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    esr: NonNegativeFloat = 1.0
    pre_emphasised_esr: NonNegativeFloat = 0.5
    mr_stft: NonNegativeFloat = 0.0
    saturation: PositiveFloat = 0.03


@dataclass(frozen=True)
class EffectObjective:
    """The loss of ``dry``, ``wet``, ``knobs`` and ``power`` (see ``RecordedExamples``)."""

    config: EffectLossConfig

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "loss" and its terms."""
        assert isinstance(network, EffectModel)
        estimate = network.predict(batch["dry"], batch["knobs"])
        with full_precision(estimate.device):
            return self.terms(estimate.float(), batch["wet"], batch["power"])

    def terms(
        self,
        estimate: Float[Tensor, "item 1 time"],
        wet: Float[Tensor, "item 1 time"],
        power: Float[Tensor, " item"],
    ) -> dict[str, Tensor]:
        """Return "loss" and its terms for an estimate."""
        config, error = self.config, estimate - wet
        ratio = error.square().mean(dim=(1, 2)) / power
        terms = {"esr": ratio.mean()}
        loss = config.esr * self._saturated(ratio)
        if config.pre_emphasised_esr:
            emphasised = pre_emphasised(error).square().mean(dim=(1, 2))
            wanted = pre_emphasised(wet).square().mean(dim=(1, 2))
            # quiet moments do not weigh more than they sound
            ratio = emphasised / (wanted + EMPHASIS_FLOOR * power)
            terms["esr_pre"] = ratio.mean()
            loss = loss + config.pre_emphasised_esr * self._saturated(ratio)
        if config.mr_stft:
            terms["mr_stft"] = mr_stft(estimate=estimate, reference=wet).mean()
            loss = loss + config.mr_stft * terms["mr_stft"]
        return {**terms, "loss": loss}

    def _saturated(self, ratio: Float[Tensor, " item"]) -> Tensor:
        bound = self.config.saturation
        return bound * (ratio / bound).log1p().mean()


#: Share of a setting's power that is added to a stretch's own, pre-emphasised one.
EMPHASIS_FLOOR = 0.02


@dataclass(frozen=True)
class EffectValidator:
    """The ESR of each setting over what is held out, and their mean, "esr"."""

    takes: Sequence[Take]
    knobs: tuple[Knob, ...]
    sample_rate: int
    max_seconds: float
    reader: TakeReader = field(default_factory=TakeReader)

    def __post_init__(self) -> None:
        if not self.takes:
            raise DataError("nothing is held out to validate on; raise data.valid_share")

    def __call__(self, network: nn.Module) -> Validation:
        """Return "esr", "esr_worst" and an excerpt."""
        assert isinstance(network, EffectModel)
        energies: dict[tuple[float, ...], list[float]] = {}
        excerpts: dict[str, Audio] = {}
        for take, span in self.pieces():
            estimate = run_over(network, self.reader, take, span, self.knobs)
            wet = self.reader.wet(take, *span)
            sums = energies.setdefault(tuple(take.settings.values()), [0.0, 0.0])
            sums[0] += float((estimate - wet).double().square().sum())
            sums[1] += float(wet.double().square().sum())
            if not excerpts:
                excerpts = {"wet": Audio(wet, self.sample_rate),
                            "estimate": Audio(estimate, self.sample_rate)}  # fmt: skip
        ratios = [error / wanted for error, wanted in energies.values() if wanted > 0]
        if not ratios:
            raise DataError("what is held out to validate on is silent; choose other recordings")
        return Validation({"esr": sum(ratios) / len(ratios), "esr_worst": max(ratios)}, excerpts)

    def pieces(self) -> list[tuple[Take, tuple[int, int]]]:
        """Return the stretches to score: all, or of each take so much that the time is kept."""
        total = sum(take.num_samples for take in self.takes)
        share = min(1.0, self.max_seconds * self.sample_rate / total)
        found = []
        for take in self.takes:
            for start, stop in take.spans:
                end = start + max(1, round(share * (stop - start)))
                cuts = range(start, end, STRETCH_SAMPLES)
                found += [(take, (cut, min(end, cut + STRETCH_SAMPLES))) for cut in cuts]
        return found
