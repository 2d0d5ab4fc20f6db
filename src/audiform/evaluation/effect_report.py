"""A page that shows a learned effect: scores beside floors, curves of its knobs, sound."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from audiform.data.effect_recordings import Take
from audiform.evaluation.effect_behaviour import Behaviour
from audiform.evaluation.effect_curves import (
    BURST,
    LEVEL_SECONDS,
    Family,
    burst_gains,
    static_curves,
)
from audiform.evaluation.effect_evaluation import EffectEvaluation
from audiform.evaluation.effect_exhibits import (
    ATTENTION_RANGE_DB,
    DIFFERENCE_DB,
    EXCERPT_SECONDS,
    TakeExhibit,
    exhibit_take,
)
from audiform.evaluation.effect_scores import MODEL, TakeScores, mean_scores
from audiform.evaluation.line_chart import RAMP, Line, Panel, svg
from audiform.evaluation.page import document, facts, picture, player, write_page
from audiform.metrics.effects_noise import ResidualNoise
from audiform.protocols import EffectModel

#: Takes that are shown and can be heard, evenly from the best to the worst: the page's size.
SHOWN_TAKES = 5

#: Figures by their key: heading, and what they mean.
FIGURES = {
    "esr": ("ESR", "energy of the error over that of the target; 0 is perfect, 1 is silence"),
    "esr_pre": ("ESR-pre", "the same after pre-emphasis, which weighs treble as ears do"),
    "mae": ("MAE", "mean absolute error"),
    "log_cosh": ("log-cosh", "half the square of small errors, the size of large ones, mean"),
    "mr_stft": ("MR-STFT", "distance of spectra at three resolutions"),
    "lufs_error": ("LUFS error", "difference of loudness, LU"),
    "gain_error_db": ("gain error", "RMS difference of the gains of 10 ms, dB"),
}

#: Colours of lines: what goes in is grey.
COLORS = {"dry": 5, "target": 0, "model": 1}

#: Wide charts and narrow ones, two of which stand side by side.
WIDE, HALF = (860, 240), (430, 260)

STYLE = """
.best { font-weight: 600; } .worse { color: var(--c1); }
.three { display: grid; grid-template-columns: repeat(3, 1fr); gap: .8rem; margin-top: .6rem; }
.three img { width: 100%; height: 130px; border-radius: 4px; display: block; }
.heads { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .5rem; }
.heads img { width: 100%; height: 90px; image-rendering: pixelated; border-radius: 4px;
  display: block; }
@media (max-width: 40rem) { .three { grid-template-columns: 1fr; } }
"""


def write_report(
    path: Path,
    network: EffectModel,
    evaluation: EffectEvaluation,
    *,
    command: str,
    training_log: Path | None = None,
) -> None:
    """Write the page; ``training_log`` are the lines that a run wrote, for its curve."""
    takes = _shown(evaluation)
    exhibits = {
        number: exhibit_take(network, evaluation.scored[number], network.spec.knobs)
        for number in takes
    }
    about = evaluation.about
    page = document(
        f"{about['effect']}: a learned effect",
        _about(evaluation, command),
        "<h2>Scores</h2>",
        *_scores(evaluation),
        "<h2>By itself</h2>",
        _behaviour(evaluation.behaviour, about["sample_rate"]),
        *_knobs(network),
        *_training(training_log),
        *(
            part
            for number, exhibit in exhibits.items()
            for part in _take(evaluation.scored[number], evaluation.takes[number], exhibit)
        ),
        style=STYLE,
    )
    write_page(path, page)


def _about(evaluation: EffectEvaluation, command: str) -> str:
    about, data = evaluation.about, evaluation.data
    latency = 1000 * about["latency_samples"] / about["sample_rate"]
    knobs = ", ".join(
        f"{knob['name']} {knob['minimum']:g} to {knob['maximum']:g} {knob['unit']}".rstrip()
        for knob in about["knobs"]
    )
    origin = (
        "the recordings that it was trained on, of which this was held out"
        if data["is_trained_on"]
        else "other recordings than those it was trained on"
    )
    what = "recordings for the test" if data["on"] == "test" else "the end of each recording"
    return facts(
        {
            "network": f"{escape(about['architecture'])}, {evaluation.behaviour.weights:,} weights",
            "rate": f"{about['sample_rate']} Hz, latency {about['latency_samples']} samples "
            f"({latency:.2g} ms)",
            "knobs": escape(knobs or "none"),
            "scored on": f"{what}: {data['takes']} takes, {data['seconds']:.1f} s; {origin}",
            "delay": escape(data["alignment"]),
            "command": f"<code>{escape(command)}</code>",
        }
    )


# Scores ----------------------------------------------------------------------------------------


def _scores(evaluation: EffectEvaluation) -> Iterator[str]:
    yield (
        "<p>Means over takes. Below the model, what needs no learning: a model that does not beat "
        "the fitted filter of 256 taps has learned little. Bold: the best of a column.</p>"
    )
    yield _floor_table(mean_scores(evaluation.takes))
    if evaluation.seen is not None or evaluation.unseen is not None:
        kinds = {
            "settings of the training": evaluation.seen,
            "settings never heard in training": evaluation.unseen,
        }
        text = "; ".join(f"{name} {_number(value)}" for name, value in kinds.items() if value)
        yield f"<p>Mean ESR of the model by setting: {text}.</p>"
    if len(evaluation.takes) > 1:
        yield "<h3>Each take</h3>"
        yield "<p>The model's figures, below each the best floor. Orange: the floor is better.</p>"
        yield _take_table(evaluation.takes)
    yield facts({heading: escape(meaning) for heading, meaning in FIGURES.values()})


def _floor_table(rows: Mapping[str, Mapping[str, float | None]]) -> str:
    best = {
        key: min((value for row in rows.values() if (value := row[key]) is not None), default=None)
        for key in FIGURES
    }
    lines = []
    for name, row in rows.items():
        cells = "".join(
            f"<td{' class=best' if row[key] is not None and row[key] == best[key] else ''}>"
            f"{_number(row[key])}</td>"
            for key in FIGURES
        )
        lines.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return _table(["", *(heading for heading, _ in FIGURES.values())], lines)


def _take_table(takes: Sequence[TakeScores]) -> str:
    knobs = list(takes[0].settings)
    lines = []
    for take in takes:
        settings = "".join(f"<td>{take.settings[knob]:g}</td>" for knob in knobs)
        cells = "".join(_beside_floor(take, key) for key in FIGURES)
        lines.append(f"<tr><td>{escape(take.name)}</td>{settings}{cells}</tr>")
    headings = [heading for heading, _ in FIGURES.values()]
    return _table(["take", *knobs, *headings], lines)


def _beside_floor(take: TakeScores, key: str) -> str:
    own = take.rows[MODEL][key]
    floors = {
        name: value
        for name, row in take.rows.items()
        if name != MODEL and (value := row[key]) is not None
    }
    if own is None:
        return "<td>-</td>"
    if not floors:
        return f"<td>{_number(own)}</td>"
    name = min(floors, key=lambda name: floors[name])
    kind = " class=worse" if floors[name] < own else ""
    return f"<td{kind}>{_number(own)}<small>{escape(name)} {_number(floors[name])}</small></td>"


def _table(headings: Sequence[str], lines: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


# What it does by itself ------------------------------------------------------------------------


def _behaviour(found: Behaviour, rate: int) -> str:
    aliasing = ", ".join(f"{hz:g} Hz {level:.0f}" for hz, level in found.aliasing_db.items())
    block = f"{found.block_samples} samples ({1000 * found.block_samples / rate:.1f} ms)"
    return facts(
        {
            "noise in silence": _noise(found.noise_in_silence),
            "noise under a tone": _noise(found.noise_under_tone)
            + ": what of the answer to 1 kHz at -12 dB does not repeat with it",
            "aliasing": f"{aliasing} dB: power at no harmonic of a tone over that at its harmonics"
            if aliasing
            else "",
            "speed": f"{found.realtime_whole:.1f} times real time at once, "
            f"{found.realtime_blocks:.1f} in blocks of {block}, on the machine that wrote this",
            "work": f"{found.macs_per_sample:,.0f} multiplications and additions per sample "
            "(matrices and convolutions)",
        }
    )


def _noise(found: ResidualNoise) -> str:
    return (
        f"{found.level_db:.0f} dB, A-weighted {found.a_weighted_db:.0f}, above 10 kHz "
        f"{found.treble_db:.0f}"
    )


def _knobs(network: EffectModel) -> Iterator[str]:
    steady, bursts = static_curves(network), burst_gains(network)
    levels = ", ".join(f"{level:g} dB for {1000 * seconds:g} ms" for level, seconds in BURST)
    yield "<h2>Transfer curves</h2>"
    yield (
        "<p>Of the model alone. Left: level out against level in, a steady sine of 1 kHz, once it "
        f"has settled ({LEVEL_SECONDS:g} s; slower effects are still moving). Right: its gain "
        f"when the sine steps, {levels}. Each knob over its range, the others at their "
        "defaults. Grey: as it came in. What rings on where the loud part ends is cut off.</p>"
    )
    for one, other in zip(steady, bursts, strict=True):
        unit = f", {one.knob.unit}" if one.knob is not None and one.knob.unit else ""
        title = "no knobs" if one.knob is None else f"{one.knob.name}{unit}"
        yield f"<h3>{escape(title)}</h3>"
        yield svg(
            [
                Panel([*_lines(one), _unchanged(one)], across="in, dB", up="out, dB", size=HALF),
                Panel(_lines(other), across="seconds", up="gain, dB", size=HALF),
            ]
        )


def _lines(family: Family) -> list[Line]:
    across = family.across.tolist()
    return [
        Line(
            "" if family.knob is None else f"{value:.3g}",
            list(zip(across, curve, strict=True)),
            color=RAMP + number,
        )
        for number, (value, curve) in enumerate(
            zip(family.values, family.curves.tolist(), strict=True)
        )
    ]


def _unchanged(family: Family) -> Line:
    return Line("", [(level, level) for level in family.across.tolist()], COLORS["dry"])


def _training(log: Path | None) -> Iterator[str]:
    if log is None or not log.is_file():
        return
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    curves = {
        "loss": [(line["step"], line["loss"]) for line in lines if line.get("loss", 0) > 0],
        "ESR, held out": [
            (line["step"], esr)
            for line in lines
            if (esr := line.get("validation", {}).get("esr", 0)) > 0
        ],
    }
    drawn = {name: curve for name, curve in curves.items() if len(curve) > 1}
    size = HALF if len(drawn) > 1 else WIDE
    panels = [
        Panel([Line("", curve)], across="step", up=name, log_up=True, size=size)
        for name, curve in drawn.items()
    ]
    if panels:
        yield "<h2>Training</h2>"
        yield svg(panels)


# Takes -----------------------------------------------------------------------------------------


def _shown(evaluation: EffectEvaluation) -> list[int]:
    """Return which takes are shown: the best, the worst and some between, in that order."""
    order = sorted(
        range(len(evaluation.takes)),
        key=lambda number: evaluation.takes[number].rows[MODEL]["esr"] or 0.0,
    )
    count = min(SHOWN_TAKES, len(order))
    places = [round(k * (len(order) - 1) / max(1, count - 1)) for k in range(count)]
    return [order[place] for place in places]


def _take(take: Take, scores: TakeScores, exhibit: TakeExhibit) -> Iterator[str]:
    settings = ", ".join(f"{knob} {value:g}" for knob, value in take.settings.items())
    esr = _number(scores.rows[MODEL]["esr"])
    about = " · ".join(part for part in (settings, f"ESR {esr}") if part)
    yield f"<section><h2>{escape(take.name)} <small>{escape(about)}</small></h2>"
    yield _charts(exhibit)
    yield '<div class="three">'
    for name in ("target", "model", "difference"):
        of = "model over target" if name == "difference" else name
        yield f"<div><small>{of}</small>{picture(exhibit.pictures[name], of=f'spectrogram: {of}')}"
        yield "</div>"
    for name, label in (("dry", "input"), ("target", "target"), ("model", "model")):
        yield f"<div><small>hear the {label}</small>{player(exhibit.sounds[name])}</div>"
    yield "</div>"
    yield (
        f'<p class="soft">The loudest moment, up to {EXCERPT_SECONDS:g} s, from '
        f"{exhibit.start_seconds:.1f} s on, mel scale. Third picture: orange "
        "where the model is louder than the target, blue "
        f"where softer, up to {DIFFERENCE_DB:g} dB.</p>"
    )
    yield from _attention(exhibit)
    yield "</section>"


def _charts(exhibit: TakeExhibit) -> str:
    waves = [Line(name, curve, COLORS[name]) for name, curve in exhibit.waves.items()]
    gains = [Line(name, curve, COLORS[name]) for name, curve in exhibit.gains.items() if curve]
    across = f"ms from {exhibit.wave_start_seconds:.3f} s on"
    charts = svg([Panel(waves, across=across, up="sample", size=WIDE)])
    if gains:
        charts += svg([Panel(gains, across="seconds", up="gain, dB", size=WIDE)])
    return charts


def _attention(exhibit: TakeExhibit) -> Iterator[str]:
    if not exhibit.attention:
        return
    yield (
        "<h3>Where it looks</h3><p>Attention while it answers the block at the loudest moment, a "
        "picture for each head. Each row is a token that is answered, the newest at the top; "
        "each column one that it looks at, the newest right, older ones in groups. "
        f"From black, {ATTENTION_RANGE_DB:g} dB below the strongest, to bright.</p>"
    )
    for name, heads in exhibit.attention.items():
        yield f"<small>{escape(name)}</small>"
        pictures = "".join(
            picture(head, of=f"attention of {name}, head {number + 1}")
            for number, head in enumerate(heads)
        )
        yield f'<div class="heads">{pictures}</div>'
