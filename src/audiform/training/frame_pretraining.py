"""Pretraining of networks that mask magnitudes, on songs without stems.

Two tasks at once: find masked groups of frames again (:mod:`audiform.training.masking`), and
tell whether the second half goes on from the first (:mod:`audiform.training.next_segment`).
After B. Carper's question on pretraining, spring 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from torch import Tensor, nn

from audiform.errors import CheckpointError, ConfigError
from audiform.nn.magnitude_masks import MagnitudeMaskModel
from audiform.training.codebook import frame_vectors, nearest_codes
from audiform.training.examples import Batch
from audiform.training.masking import MaskingConfig, Spectra, draw_masking, mask_groups
from audiform.training.next_segment import (
    NextSegmentConfig,
    draw_splice,
    hidden_frames,
    put_separator,
    splice,
)


class FramePretrainingConfig(BaseModel):
    """The two tasks and their weights in the loss.

    ``masked_only`` counts the error of magnitudes in chosen groups only, and not everywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    masking: MaskingConfig = MaskingConfig()
    next_segment: NextSegmentConfig = NextSegmentConfig()
    mask_weight: NonNegativeFloat = 1.0
    next_weight: NonNegativeFloat = 1.0
    masked_only: bool = False


@dataclass(frozen=True)
class PretrainingBatch:
    """What a network sees, what it should give, and where groups were chosen.

    ``chosen`` has none of the frames that the separator hides. ``goes_on`` tells of which
    items the second half is their own.
    """

    inputs: Spectra
    targets: Spectra
    chosen: Bool[Tensor, "batch frame"]
    goes_on: Bool[Tensor, " batch"]


def draw_pretraining_batch(
    spectra: Spectra,
    others: Float[Tensor, "batch channel bin other_frames"],
    config: FramePretrainingConfig,
    *,
    generator: torch.Generator,
) -> PretrainingBatch:
    """Make a batch of both tasks: splice, normalise, mask, separate.

    ``spectra`` are magnitudes of any level, ``others`` those of another song for each.
    """
    draw = draw_splice(
        config.next_segment,
        batch_size=len(spectra),
        half_frames=spectra.shape[-1] // 2,
        other_frames=others.shape[-1],
        generator=generator,
    )
    whole = splice(spectra, others, draw)
    masking = draw_masking(config.masking, whole, generator=generator)
    chosen = masking.chosen_frames(whole.shape[-1])
    chosen[:, hidden_frames(whole.shape[-1], config.next_segment)] = False
    return PretrainingBatch(
        inputs=put_separator(mask_groups(whole, masking), config.next_segment),
        targets=put_separator(whole, config.next_segment),
        chosen=chosen,
        goes_on=~draw.replaced,
    )


@dataclass(frozen=True)
class PretrainingLosses:
    """``total`` is what to minimise; ``frames`` and ``next_segment`` are its parts, unweighted.

    ``masked`` is the error in chosen groups alone: of magnitudes, or with a codebook the share
    of frames that got another code than theirs. ``next_accuracy`` is the share of items whose
    second half was judged rightly.
    """

    total: Float[Tensor, ""]
    frames: Float[Tensor, ""]
    masked: Float[Tensor, ""]
    next_segment: Float[Tensor, ""]
    next_accuracy: Float[Tensor, ""]


class FramePretrainer(nn.Module):
    """A network and the heads that only its pretraining needs.

    Without ``codebook`` the first task is regression: the mean absolute error of the masked
    inputs. With one it is classification: which code the frames of chosen groups have; the
    network's own head is not trained then.
    """

    codebook: Tensor | None

    def __init__(
        self,
        network: MagnitudeMaskModel,
        config: FramePretrainingConfig,
        *,
        codebook: Float[Tensor, "size bin"] | None = None,
    ) -> None:
        super().__init__()
        if network.config.num_masks != 1:
            raise ConfigError(
                f"pretraining needs a network of one mask, found {network.config.num_masks}; "
                "pretrain one with rest_source and go on from it with start_from()"
            )
        self.network = network
        self.config = config
        self.next_head = nn.Linear(network.deepest_channels, 1)
        self.code_head = (
            None
            if codebook is None
            else CodeHead(network.last_channels, network.config.num_bins, len(codebook))
        )
        self.register_buffer("codebook", codebook)

    def forward(self, batch: PretrainingBatch) -> PretrainingLosses:
        """Return the losses of a batch."""
        features = self.network.features(batch.inputs)
        logits = self.next_head(features.deepest.mean(dim=(1, 2)))[:, 0].float()
        goes_on = batch.goes_on.to(logits)
        next_loss = F.binary_cross_entropy_with_logits(logits, goes_on)
        if self.code_head is None or self.codebook is None:
            frame_loss, masked = self._regression(self.network.head(features.last)[:, 0], batch)
        else:
            codes = nearest_codes(frame_vectors(batch.targets), self.codebook)[batch.chosen]
            scores = self.code_head(features.last)[batch.chosen].float()
            frame_loss = _mean(F.cross_entropy(scores, codes, reduction="none"))
            masked = _mean((scores.argmax(dim=-1) != codes).float())
        return PretrainingLosses(
            total=self.config.mask_weight * frame_loss + self.config.next_weight * next_loss,
            frames=frame_loss,
            masked=masked,
            next_segment=next_loss,
            next_accuracy=((logits > 0) == batch.goes_on).float().mean(),
        )

    def _regression(
        self, masks: Spectra, batch: PretrainingBatch
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the error that counts, and that of chosen groups."""
        error = (masks * batch.inputs - batch.targets).abs().mean(dim=(1, 2))
        masked = _mean(error[batch.chosen])
        return (masked if self.config.masked_only else error.mean()), masked


def _mean(values: Float[Tensor, " value"]) -> Float[Tensor, ""]:
    """Return the mean, of no values zero: all chosen groups may lie under the separator."""
    return values.sum() / max(1, len(values))


class CodeHead(nn.Module):
    """All channels of each bin into one, all bins of each frame into scores of codes."""

    def __init__(self, channels: int, num_bins: int, size: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, 1)
        self.to_codes = nn.Linear(num_bins, size)

    def forward(
        self, features: Float[Tensor, "batch frame bin channel"]
    ) -> Float[Tensor, "batch frame size"]:
        """Return the scores."""
        return self.to_codes(self.squeeze(features)[..., 0])


class PretrainingObjective:
    """The losses of a :class:`FramePretrainer`, by name, for the trainer.

    A batch holds the fields of :class:`PretrainingBatch`.
    """

    def __call__(
        self, network: nn.Module, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return "loss", "frames", "masked", "next_segment" and "next_accuracy"."""
        losses: PretrainingLosses = network(PretrainingBatch(**batch))
        return {
            "loss": losses.total,
            "frames": losses.frames,
            "masked": losses.masked,
            "next_segment": losses.next_segment,
            "next_accuracy": losses.next_accuracy,
        }


def start_from(
    network: MagnitudeMaskModel, pretrained: Mapping[str, Tensor], *, with_head: bool = True
) -> list[str]:
    """Give ``network`` the weights of a pretrained one; return the names of those left fresh.

    The head makes the masks: another number of sources means another head, which keeps its
    initial weights, as it does without ``with_head``. Its norm is none of the masks' business
    and is taken over. Raises :class:`CheckpointError` where anything else differs.
    """
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in pretrained.items()
        if not _makes_masks(name) or (with_head and name in own and value.shape == own[name].shape)
    }
    try:
        result = network.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"the pretrained weights do not fit this network ({error}); "
            "give both the same configuration but for the sources"
        ) from error
    lacking = [name for name in result.missing_keys if not _makes_masks(name)]
    if lacking or result.unexpected_keys:
        raise CheckpointError(
            f"the pretrained weights do not fit this network: {len(lacking)} are missing, "
            f"{len(result.unexpected_keys)} unknown; give both the same configuration but for "
            "the sources"
        )
    return list(result.missing_keys)


def _makes_masks(name: str) -> bool:
    return name.startswith("head.") and "to_masks" in name
