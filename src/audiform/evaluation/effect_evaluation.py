"""A learned effect against recordings: scores beside floors, and what it does by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from audiform.data.effect_recordings import (
    Recordings,
    ScoredPart,
    Take,
    read_recordings,
    recorded_knobs,
)
from audiform.errors import DataError
from audiform.evaluation.effect_behaviour import Behaviour, behaviour
from audiform.evaluation.effect_scores import MODEL, TakeScores, mean_scores, score_takes
from audiform.inference.effect import Effect

#: Version of the files that scores are kept in.
FORMAT = 1


@dataclass(frozen=True)
class EffectEvaluation:
    """All scores of an effect.

    ``about`` is what the checkpoint says, ``data`` what was scored. ``takes`` are the scores in
    the order of ``scored``. ``seen`` and ``unseen`` are the model's mean ESR at settings that it
    was trained at and at others; None where there are none, or nobody wrote down which.
    """

    about: Mapping[str, Any]
    data: Mapping[str, Any]
    takes: tuple[TakeScores, ...]
    scored: tuple[Take, ...]
    behaviour: Behaviour
    seen: float | None
    unseen: float | None

    def records(self) -> list[dict[str, Any]]:
        """Return the whole, and one record for each take, as plain data."""
        whole = {
            "audiform_effect_scores": FORMAT,
            **self.about,
            "data": dict(self.data),
            "mean": mean_scores(self.takes),
            "esr_at_seen_settings": self.seen,
            "esr_at_unseen_settings": self.unseen,
            "behaviour": asdict(self.behaviour),
        }
        return [whole, *(asdict(take) for take in self.takes)]

    def to_lines(self) -> str:
        """Return the records as lines of JSON."""
        return "".join(json.dumps(record, default=str) + "\n" for record in self.records())


def recordings_for(
    effect: Effect, root: Path, *, cache_folder: Path, score_only: str | None = None
) -> Recordings:
    """Read ``root`` as ``effect`` needs it: its rate, its knobs, held out what its training did.

    ``score_only`` (PERIOD:START:STOP) is as in the training by default. Raises
    :class:`DataError` where knobs do not fit.
    """
    settings = effect.header.training.get("recipe", {}).get("data", {})
    recorded = recorded_knobs(root)
    for knob in effect.knobs:
        if knob.name not in recorded:
            raise DataError(
                f"{effect.name} has the knob {knob.name}, and the recordings do not say where it "
                f"stood; name their targets target__{knob.name}=VALUE.wav",
                path=root,
            )
    part = score_only or settings.get("score_only")
    recordings = read_recordings(
        root,
        cache_folder=cache_folder,
        knobs=effect.knobs,
        scored=ScoredPart.parse(part) if part else None,
        valid_share=settings.get("valid_share", 0.15),
        sample_rate=effect.sample_rate,
        align=settings.get("align", True),
    )
    known = {knob.name for knob in effect.knobs}
    for name in (knob.name for knob in recordings.knobs):
        if name not in known:
            raise DataError(
                f"the recordings move a knob {name}, which {effect.name} has not; take those "
                "away that differ from what it was trained at",
                path=root,
            )
    return recordings


def evaluate_effect(
    effect: Effect,
    recordings: Recordings,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> EffectEvaluation:
    """Score ``effect`` on the recordings for a test, or else on what of them is held out."""
    split = "test" if recordings.of("test") else "valid"
    takes = recordings.of(split)
    scores = score_takes(
        effect.network,
        takes,
        recordings.of("train"),
        effect.knobs,
        sample_rate=effect.sample_rate,
        on_progress=on_progress,
    )
    trained = effect.header.training.get("data", {})
    seen, unseen = _generalisation(scores, trained.get("trained_settings"))
    return EffectEvaluation(
        about={
            "effect": effect.name,
            "architecture": effect.header.architecture,
            "sample_rate": effect.sample_rate,
            "latency_samples": effect.spec.latency_samples,
            "knobs": [knob.model_dump() for knob in effect.knobs],
        },
        data={
            "on": split,
            "takes": len(takes),
            "seconds": round(sum(score.seconds for score in scores), 3),
            "is_trained_on": trained.get("fingerprint") == recordings.fingerprint,
            "alignment": recordings.alignment.sentence(),
        },
        takes=tuple(scores),
        scored=takes,
        behaviour=behaviour(effect.network),
        seen=seen,
        unseen=unseen,
    )


def _generalisation(
    scores: Sequence[TakeScores], trained: Sequence[Mapping[str, float]] | None
) -> tuple[float | None, float | None]:
    """Return the mean ESR at settings of the training, and at others."""
    if trained is None:
        return None, None
    by_kind: dict[bool, list[float]] = {True: [], False: []}
    for take in scores:
        value = take.rows[MODEL]["esr"]
        if value is not None:
            by_kind[dict(take.settings) in trained].append(value)
    seen, unseen = (fmean(values) if values else None for values in by_kind.values())
    return seen, unseen
