"""Validation on songs: separated as users do, or the middle of each, always the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiform.audio import Audio
from audiform.data.segments import SegmentDataset
from audiform.data.track import MIXTURE, Track
from audiform.inference.separator import Separator
from audiform.metrics.separation import sdr
from audiform.protocols import SeparationSpec
from audiform.recipes.stems import SeparationData
from audiform.training.validation import SILENT_POWER, Validation

#: What is kept to be listened to.
EXCERPT_SECONDS = 10.0


class SongValidator:
    """Scores a network on songs: "loss", "sdr" and "sdr_SOURCE".

    "loss" is the mean absolute error at the level that the song has in training, "sdr" the
    ratio of the MDX challenges in dB, a mean over songs in which the source is not silent.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        data: SeparationData,
        *,
        spec: SeparationSpec,
        cache_folder: Path | None = None,
    ) -> None:
        self.data = data
        self.spec = spec
        self.songs = SegmentDataset(
            list(tracks)[: data.validation_songs],
            (*spec.sources, MIXTURE),
            sample_rate=spec.sample_rate,
            audio_channels=spec.audio_channels,
            segment_seconds=1.0,
            missing="silence",
            cache_folder=cache_folder,
        )

    def __call__(self, network: nn.Module) -> Validation:
        """Return the scores of ``network``."""
        device = next(network.parameters()).device
        separator = Separator(network, device=str(device))
        losses: list[float] = []
        ratios: dict[str, list[float]] = {source: [] for source in self.spec.sources}
        excerpts: dict[str, Audio] = {}
        for index in range(len(self.songs.tracks)):
            stems, mixture = self._read(index)
            separated = separator.separate(Audio(mixture, self.spec.sample_rate))
            estimate = torch.stack([separated[name].samples for name in self.spec.sources])
            scale = mixture.mean(dim=0).std() + 1e-8 if self.data.normalise else 1.0
            losses.append(((estimate - stems).abs().mean() / scale).item())
            for number, source in enumerate(self.spec.sources):
                if stems[number].square().mean() > SILENT_POWER:
                    score = sdr(estimate=estimate[number], reference=stems[number])
                    ratios[source].append(score.item())
            if not excerpts:
                end = round(EXCERPT_SECONDS * self.spec.sample_rate)
                excerpts = {
                    name: Audio(part[..., :end].clone(), self.spec.sample_rate)
                    for name, part in zip(self.spec.sources, estimate, strict=True)
                }
        means = {name: sum(found) / len(found) for name, found in ratios.items() if found}
        scores = {"loss": sum(losses) / len(losses)}
        if means:
            scores["sdr"] = sum(means.values()) / len(means)
        scores |= {f"sdr_{name}": mean for name, mean in means.items()}
        return Validation(scores, excerpts)

    def _read(
        self, index: int
    ) -> tuple[Float[Tensor, "source channel time"], Float[Tensor, "channel time"]]:
        """Return stems and mixture of a song, or of its middle."""
        length, start = self.songs.track_length_samples(index), 0
        if self.data.validation_seconds is not None:
            wanted = min(length, round(self.data.validation_seconds * self.spec.sample_rate))
            length, start = wanted, (length - wanted) // 2
        parts = torch.from_numpy(
            self.songs.read_track(index, start_samples=start, length_samples=length)
        )
        return parts[:-1], parts[-1]
