"""Training of effects that undo something: the error against what was to be taken away."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiform.audio import Audio
from audiform.metrics.separation import si_sdr
from audiform.protocols import EffectModel
from audiform.training.examples import Batch, Examples, on_device
from audiform.training.objective import full_precision
from audiform.training.validation import Validation

#: An error below this share of the sound's energy is as good as none: -30 dB.
LEAST_ERROR = 1e-3


def answered(sound: Float[Tensor, "item 1 time"], network: EffectModel) -> Tensor:
    """Return the part of ``sound`` that ``predict`` answers."""
    spec = network.spec
    return sound[..., spec.context_samples : sound.shape[-1] - spec.latency_samples]


@dataclass(frozen=True)
class RestoringObjective:
    """The energy of what is left to undo, relative to the sound's, in dB: quiet items count.

    Of ``dry``, ``wet`` and ``knobs``; also the share of an item that did not improve.
    """

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "loss", and "gain_db", by how much the error has fallen."""
        assert isinstance(network, EffectModel)
        estimate = network.predict(batch["dry"], batch["knobs"])
        with full_precision(estimate.device):
            wet = answered(batch["wet"], network)
            before = answered(batch["dry"], network) - wet
            energy = wet.square().sum(dim=(1, 2)) + 1e-6
            left_db, was_db = (
                10.0 * (error.square().sum(dim=(1, 2)) / energy + LEAST_ERROR).log10()
                for error in (estimate.float() - wet, before)
            )
        return {"loss": left_db.mean(), "gain_db": (was_db - left_db).mean()}


@dataclass(frozen=True)
class RestoringValidator:
    """By how much the SI-SDR of held-out pairs rises, "si_sdr_gain", and where it gets to."""

    examples: Examples
    sample_rate: int

    def __call__(self, network: nn.Module) -> Validation:
        """Return "si_sdr", "si_sdr_gain" and an excerpt."""
        assert isinstance(network, EffectModel)
        device = next(network.parameters()).device
        reached: list[float] = []
        gained: list[float] = []
        excerpts: dict[str, Audio] = {}
        for draw in range(self.examples.draws_per_epoch):
            batch = on_device(self.examples(draw), device)
            with torch.no_grad():
                estimate = network.predict(batch["dry"], batch["knobs"]).float()
            dry, wet = (answered(batch[name], network) for name in ("dry", "wet"))
            after, before = (si_sdr(estimate=sound, reference=wet) for sound in (estimate, dry))
            reached += after.tolist()
            gained += (after - before).tolist()
            excerpts = excerpts or {
                name: Audio(sound[0].cpu(), self.sample_rate)
                for name, sound in (("dry", dry), ("wet", wet), ("estimate", estimate))
            }
        means = (sum(values) / len(values) for values in (reached, gained))
        return Validation(dict(zip(("si_sdr", "si_sdr_gain"), means, strict=True)), excerpts)
