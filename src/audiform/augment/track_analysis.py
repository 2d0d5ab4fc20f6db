"""What automix must know of a track, found once: its beats and its pitch classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from audiform.augment.beats import Beats, track_beats
from audiform.dsp.chroma import chroma
from audiform.errors import DataError

#: The stem whose beats are tracked; it has no pitch.
DRUMS = "drums"


@dataclass(frozen=True)
class TrackAnalysis:
    """Beats of the drums, and the distribution over pitch classes of all the rest."""

    name: str
    duration_seconds: float
    sources: tuple[str, ...]
    beats: Beats
    chroma: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrackAnalysis:
        """Return what :meth:`to_dict` was made of; raises :class:`DataError` for anything else."""
        try:
            beats = Beats(
                tuple(map(float, values["beats"]["times_seconds"])),
                tuple(map(float, values["beats"]["strengths"])),
            )
            analysis = cls(
                name=str(values["name"]),
                duration_seconds=float(values["duration_seconds"]),
                sources=tuple(map(str, values["sources"])),
                beats=beats,
                chroma=tuple(map(float, values["chroma"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no analysis of a track ({error}); analyse it anew") from error
        if len(analysis.chroma) != 12 or len(beats.times_seconds) != len(beats.strengths):
            raise DataError("this is no analysis of a track (sizes differ); analyse it anew")
        return analysis


def analyse_track(
    name: str, stems: Mapping[str, Float[Tensor, "channels time"]], *, sample_rate: int
) -> TrackAnalysis:
    """Analyse a track's stems by name; without drums it has no beats."""
    rest = [audio for source, audio in stems.items() if source != DRUMS]
    samples = max((audio.shape[-1] for audio in stems.values()), default=0)
    beats = track_beats(stems[DRUMS], sample_rate=sample_rate) if DRUMS in stems else Beats((), ())
    total = sum_of(rest)
    pitches = (0.0,) * 12
    if total is not None:
        pitches = tuple(round(v, 6) for v in chroma(total, sample_rate=sample_rate).tolist())
    return TrackAnalysis(name, samples / sample_rate, tuple(stems), beats, pitches)


def sum_of(parts: list[Tensor]) -> Tensor | None:
    """Return the sum of parts (channels, time), each from its start; None of none."""
    if not parts:
        return None
    total = parts[0].new_zeros(parts[0].shape[0], max(part.shape[-1] for part in parts))
    for part in parts:
        total[:, : part.shape[-1]] += part
    return total
