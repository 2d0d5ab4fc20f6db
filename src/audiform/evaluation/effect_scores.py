"""Scores of a learned effect on recordings, next to what needs no learning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data.effect_recordings import Take, TakeReader
from audiform.dsp.convolve import convolve
from audiform.dsp.least_squares_filter import NormalEquations, normal_equations
from audiform.errors import AudioError
from audiform.knob import Knob, settings_to_network
from audiform.metrics.effects import (
    esr,
    gain_curve_error,
    log_cosh,
    mae,
    mr_stft,
    pre_emphasised_esr,
)
from audiform.metrics.effects_floors import FIR_TAPS, best_gain, nearest_setting
from audiform.metrics.effects_loudness import loudness_error
from audiform.protocols import EffectModel

#: What is scored: the network, and what needs no learning.
MODEL, BYPASS, GAIN, FIR, NEAREST = "model", "bypass", "best gain", "FIR-256", "nearest setting"

#: Columns of the table.
METRICS = ("esr", "esr_pre", "mae", "log_cosh", "mr_stft", "lufs_error", "gain_error_db")

#: At most so much of a take is scored, and the filters are fitted to so much.
MOST_SECONDS = 60.0

_Span = tuple[int, int]


@dataclass(frozen=True)
class TakeScores:
    """Scores of a take: of the network and of each floor, by metric; None where there is none."""

    name: str
    settings: Mapping[str, float]
    seconds: float
    rows: Mapping[str, Mapping[str, float | None]]


def run_over(
    network: EffectModel,
    reader: TakeReader,
    take: Take,
    span: tuple[int, int],
    knobs: Sequence[Knob],
) -> Float[Tensor, "1 time"]:
    """Return what ``network`` makes of a span of a take, which it hears from its look-back on."""
    spec = network.spec
    device = next(network.parameters()).device  # type: ignore[attr-defined]
    positions = settings_to_network(knobs, take.settings)[None].to(device)
    start, stop = span
    rest = -(stop - start) % spec.block_samples
    dry = reader.dry(take, start - spec.context_samples, stop + rest + spec.latency_samples)
    with torch.no_grad():
        wet = network.predict(dry[None].to(device), positions)[0].cpu()
    return wet[:, : stop - start]


def score_takes(
    network: EffectModel,
    takes: Sequence[Take],
    fitted: Sequence[Take],
    knobs: tuple[Knob, ...],
    *,
    sample_rate: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[TakeScores]:
    """Score ``network`` on ``takes``; gains and filters are fitted to those of ``fitted``.

    A floor is fitted to the take of the same name, or where there is none to all at the same
    setting; without those it is left out. The nearest setting is another target of the same
    input.
    """
    reader = TakeReader()
    scored = []
    for number, take in enumerate(takes):
        spans = _shortened(take.spans, MOST_SECONDS * sample_rate)
        wet = _joined(reader.wet, take, spans)
        dry = _joined(reader.dry, take, spans)
        estimates = {
            MODEL: torch.cat(
                [run_over(network, reader, take, span, knobs) for span in spans], dim=-1
            ),
            BYPASS: dry,
        }
        if own := _of_setting(take, fitted):
            pieces = [
                (other, span)
                for other in own
                for span in _shortened(other.spans, MOST_SECONDS * sample_rate / len(own))
            ]
            learned = (
                torch.cat([reader.dry(other, *span) for other, span in pieces], dim=-1),
                torch.cat([reader.wet(other, *span) for other, span in pieces], dim=-1),
            )
            estimates[GAIN] = best_gain(dry=learned[0], wet=learned[1]) * dry
            estimates[FIR] = _filtered(reader, take, spans, _fir(reader, pieces))
        if (nearest := _nearest(take, takes, knobs)) is not None:
            estimates[NEAREST] = _joined(reader.wet, nearest, spans)
        rows = {
            name: _metrics(estimate, wet, dry, sample_rate) for name, estimate in estimates.items()
        }
        scored.append(TakeScores(take.name, take.settings, wet.shape[-1] / sample_rate, rows))
        if on_progress is not None:
            on_progress(number + 1, len(takes))
    return scored


def mean_scores(scores: Sequence[TakeScores]) -> dict[str, dict[str, float | None]]:
    """Return the means over takes by row and metric; a row that some take lacks is left out."""
    names = [name for name in scores[0].rows if all(name in take.rows for take in scores)]
    means: dict[str, dict[str, float | None]] = {}
    for name in names:
        means[name] = {}
        for metric in METRICS:
            values = [take.rows[name][metric] for take in scores]
            known = [value for value in values if value is not None]
            means[name][metric] = sum(known) / len(known) if known else None
    return means


def _shortened(spans: Sequence[_Span], samples: float) -> list[_Span]:
    """Return the first spans that together have so many samples, the last of them cut."""
    left, found = int(samples), []
    for start, stop in spans:
        if left <= 0:
            break
        found.append((start, min(stop, start + left)))
        left -= stop - start
    return found


def _joined(read: Callable[[Take, int, int], Tensor], take: Take, spans: Sequence[_Span]) -> Tensor:
    return torch.cat([read(take, *span) for span in spans], dim=-1)


def _of_setting(take: Take, fitted: Sequence[Take]) -> list[Take]:
    own = [other for other in fitted if other.name == take.name]
    return own or [other for other in fitted if other.settings == take.settings]


def _fir(reader: TakeReader, pieces: Sequence[tuple[Take, _Span]]) -> Float[Tensor, " taps"]:
    sums = [
        normal_equations(
            reader.dry(take, start - FIR_TAPS + 1, stop)[0],
            reader.wet(take, start, stop)[0],
            num_taps=FIR_TAPS,
        )
        for take, (start, stop) in pieces
    ]
    return reduce(NormalEquations.plus, sums).solve()


def _filtered(
    reader: TakeReader, take: Take, spans: Sequence[_Span], taps: Float[Tensor, " taps"]
) -> Float[Tensor, "1 time"]:
    past = len(taps) - 1
    parts = [
        convolve(reader.dry(take, start - past, stop).double(), taps[None])[:, past:]
        for start, stop in spans
    ]
    return torch.cat(parts, dim=-1).float()


def _nearest(take: Take, takes: Sequence[Take], knobs: tuple[Knob, ...]) -> Take | None:
    others = [
        other for other in takes if other.source == take.source and other.settings != take.settings
    ]
    if not others or not knobs:
        return None
    return others[nearest_setting(take.settings, [other.settings for other in others], knobs)]


def _metrics(
    estimate: Tensor, wet: Tensor, dry: Tensor, sample_rate: int
) -> dict[str, float | None]:
    both = {"estimate": estimate, "reference": wet}
    found: dict[str, Callable[[], float]] = {
        "esr": lambda: esr(**both).item(),
        "esr_pre": lambda: pre_emphasised_esr(**both).item(),
        "mae": lambda: mae(**both).item(),
        "log_cosh": lambda: log_cosh(**both).item(),
        "mr_stft": lambda: mr_stft(**both).item(),
        "lufs_error": lambda: loudness_error(**both, sample_rate=sample_rate),
        "gain_error_db": lambda: gain_curve_error(**both, dry=dry, sample_rate=sample_rate),
    }
    return {name: _finite(score) for name, score in found.items()}


def _finite(score: Callable[[], float]) -> float | None:
    """Return the score, None of sound that is too short or too soft for it."""
    try:
        value = score()
    except AudioError:
        return None
    return value if math.isfinite(value) else None
