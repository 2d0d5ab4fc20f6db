"""Training of a network that says where hits begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiform.metrics.effects_inverse import matched_onsets
from audiform.training.examples import Batch, Examples, on_device
from audiform.training.objective import full_precision
from audiform.training.validation import Validation

#: A hit counts for as much as so many frames without one.
HIT_WEIGHT = 5.0

#: A hit is found where its beginning is at most so far off.
FOUND_WITHIN_MS = 10.0


class HitDetector(Protocol):
    """A network that finds hits, without settings."""

    def detect(self, dry: Tensor, settings: Tensor) -> Tensor:
        """Return logits of frames."""
        ...

    def hits(self, logits: Tensor) -> Tensor:
        """Return beginnings in samples."""
        ...


@dataclass(frozen=True)
class HitObjective:
    """The cross entropy of ``hits`` in ``dry``, frame by frame; both ends are not judged."""

    unknown_frames: int

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "loss"."""
        detector = cast(HitDetector, network)
        logits = detector.detect(batch["dry"], batch["dry"].new_zeros(len(batch["dry"]), 0))
        known = slice(self.unknown_frames, logits.shape[-1] - self.unknown_frames)
        weight = torch.tensor(HIT_WEIGHT, device=logits.device)
        with full_precision(logits.device):
            loss = F.binary_cross_entropy_with_logits(
                logits[:, known].float(), batch["hits"][:, known], pos_weight=weight
            )
        return {"loss": loss}


@dataclass(frozen=True)
class HitValidator:
    """How many hits of held-out sounds are missed or made up, and how far off the others are.

    "f_loss" is 1 - F, "error_ms" the mean distance of those that were found.
    """

    examples: Examples
    sample_rate: int
    n_fft: int
    hop_length: int
    unknown_frames: int

    def __call__(self, network: nn.Module) -> Validation:
        """Return "f_loss" and "error_ms"."""
        detector = cast(HitDetector, network)
        device = next(network.parameters()).device
        found_all, true_all, errors = 0, 0, list[float]()
        for draw in range(self.examples.draws_per_epoch):
            batch = on_device(self.examples(draw), device)
            with torch.no_grad():
                settings = batch["dry"].new_zeros(len(batch["dry"]), 0)
                logits = detector.detect(batch["dry"], settings)
            for row, labels in zip(logits, batch["hits"], strict=True):
                true = self._true(labels)
                found = detector.hits(row).tolist()
                errors += matched_onsets(
                    found, true, within=FOUND_WITHIN_MS * self.sample_rate / 1000
                )
                found_all, true_all = found_all + len(found), true_all + len(true)
        f_measure = 2 * len(errors) / max(1, found_all + true_all)
        off = 1000.0 * sum(map(abs, errors)) / max(1, len(errors)) / self.sample_rate
        return Validation({"f_loss": 1.0 - f_measure, "error_ms": off})

    def _true(self, labels: Tensor) -> Sequence[float]:
        """Return where the labels say that hits begin, where they can be known."""
        inner = range(self.unknown_frames, len(labels) - self.unknown_frames)
        values = labels.tolist()
        found = []
        for frame in inner:
            before, here, after = values[frame - 1 : frame + 2]
            if here > 0 and here >= before and here > after:
                offset = (after - before) / max(here + before + after, 1e-6)
                found.append((frame + offset) * self.hop_length + self.n_fft / 2)
        return found
