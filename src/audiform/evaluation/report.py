"""A page that shows an evaluation: one HTML file, without scripts, without a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from audiform.evaluation.exhibits import Exhibits, exhibit
from audiform.evaluation.figures import FIGURES
from audiform.evaluation.page import document, facts, picture, player, write_page
from audiform.evaluation.scores import Evaluation, SongScores, shown
from audiform.evaluation.song_audio import SongAudio

#: Figures over time, the first one that a song has is plotted.
PLOTTED = ("bsseval_sdr_db", "mdx_sdr_db")

#: Bounds of plots in dB: what is beyond says no more than that it is beyond.
PLOT_LOWEST_DB, PLOT_HIGHEST_DB = -10.0, 30.0

PLOT_WIDTH, PLOT_HEIGHT, PLOT_LEFT, PLOT_BOTTOM = 860, 170, 40, 20


class Report:
    """Collects what a page shows of each song, and writes it.

    ``excerpt_seconds`` of sound are kept of each song, none if 0.
    """

    def __init__(self, *, excerpt_seconds: float) -> None:
        self._excerpt_seconds = excerpt_seconds
        self._exhibits: dict[str, Exhibits] = {}

    def add(self, audio: SongAudio, song: SongScores) -> None:
        """Draw a song and cut its excerpt, while its audio is at hand."""
        self._exhibits[song.name] = exhibit(audio, excerpt_seconds=self._excerpt_seconds)

    def write(self, path: Path, evaluation: Evaluation, *, command: str, date: str) -> None:
        """Write the page; ``command`` and ``date`` are put down as they are given."""
        page = render(evaluation, self._exhibits, command=command, date=date)
        write_page(path, page)


def render(
    evaluation: Evaluation, exhibits: Mapping[str, Exhibits], *, command: str, date: str
) -> str:
    """Return the page."""
    title = f"{evaluation.provenance.subject} on {evaluation.provenance.data}"
    return document(
        title,
        _provenance(evaluation, command=command, date=date),
        "<h2>All songs</h2>",
        "<p>Medians: of seconds where a figure has windows (BSSEval), then of songs, as museval "
        "does. Below each, the means, and the floors: what the mixture scores as the estimate, "
        "and what an ideal ratio mask scores.</p>",
        _table(evaluation.medians(), evaluation.means()),
        _legend(evaluation),
        *(_song(song, exhibits.get(song.name)) for song in evaluation.songs),
    )


def _provenance(evaluation: Evaluation, *, command: str, date: str) -> str:
    about = evaluation.provenance
    piece = "" if about.duration_seconds is None else f"{about.duration_seconds:g} s of each song"
    if about.start_seconds:
        piece = f"{piece or 'each song'} from {about.start_seconds:g} s on"
    minutes = sum(song.seconds for song in evaluation.songs) / 60
    settings = ", ".join(f"{key} = {value}" for key, value in about.settings.items())
    rows = {
        "checkpoint": "<br>".join(f"<code>sha256 {digest}</code>" for digest in about.checkpoints),
        "songs": f"{len(evaluation.songs)}, {minutes:.1f} min",
        "piece": piece,
        "settings": escape(settings),
        "command": f"<code>{escape(command)}</code>",
        "made by": f"audiform {escape(about.version)}",
        "date": escape(date),
    }
    return facts(rows)


def _table(
    figures: Mapping[str, Mapping[str, Mapping[str, float]]],
    means: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> str:
    keys = [key for key in FIGURES if any(key in by_figure for by_figure in figures.values())]
    head = "".join(
        f"<th>{FIGURES[key].label}<br><small>{FIGURES[key].unit}</small></th>" for key in keys
    )
    rows = []
    for stem, by_figure in figures.items():
        cells = "".join(
            _cell(by_figure.get(key, {}), (means or {}).get(stem, {}).get(key, {})) for key in keys
        )
        rows.append(f"<tr><td>{escape(stem)}</td>{cells}</tr>")
    return f'<div class="scroll"><table><tr><th>stem</th>{head}</tr>{"".join(rows)}</table></div>'


def _cell(of: Mapping[str, float], mean: Mapping[str, float]) -> str:
    if "estimate" not in of:
        return "<td>-</td>"
    small = [f"mean {shown(mean['estimate'])}"] if "estimate" in mean else []
    small += [f"mixture {shown(of['mixture'], digits=1)}"] if "mixture" in of else []
    small += [f"ideal {shown(of['ideal_mask'], digits=1)}"] if "ideal_mask" in of else []
    return f"<td>{shown(of['estimate'])}" + "".join(f"<small>{s}</small>" for s in small) + "</td>"


def _legend(evaluation: Evaluation) -> str:
    used = {key for song in evaluation.songs for by in song.stems.values() for key in by}
    rows = (
        f"<dt>{kind.label}</dt><dd>{escape(kind.meaning)}</dd>"
        for key, kind in FIGURES.items()
        if key in used
    )
    return "<dl>" + "".join(rows) + "</dl>"


def _song(song: SongScores, exhibits: Exhibits | None) -> str:
    parts = [
        f"<section><h2>{escape(song.name)} <small>{song.seconds / 60:.1f} min</small></h2>",
        *(f'<p class="note">{escape(remark)}</p>' for remark in song.remarks),
        _plot(song),
        _table(song.stems),
    ]
    if exhibits is None:
        parts.append('<p class="soft">Scored in an earlier run: no pictures, no sound.</p>')
    else:
        parts.append(_stems(song, exhibits))
    return "\n".join((*parts, "</section>"))


def _stems(song: SongScores, exhibits: Exhibits) -> str:
    rows = ['<div class="stems"><span></span><small>true stem</small><small>estimate</small>']
    for stem in song.stems:
        pair = "".join(
            f"<div>{_exhibit(exhibits, f'{kind}/{stem}')}</div>"
            for kind in ("reference", "estimate")
        )
        rows.append(f"<b>{escape(stem)}</b>{pair}")
    rows.append(f"<b>mixture</b><div>{_exhibit(exhibits, 'mixture')}</div><span></span></div>")
    if exhibits.sounds:
        start = exhibits.excerpt_start_seconds
        rows.append(
            f'<p class="soft">Pictures: the whole song, mel scale. Sound: the loudest seconds, '
            f"from {int(start) // 60}:{int(start) % 60:02d} on.</p>"
        )
    return "\n".join(rows)


def _exhibit(exhibits: Exhibits, name: str) -> str:
    shown = picture(exhibits.pictures[name], of=f"spectrogram of {name}")
    if name not in exhibits.sounds:
        return shown
    return shown + player(exhibits.sounds[name])


def _plot(song: SongScores) -> str:
    """Draw a figure of each stem, second by second, as SVG."""
    key = next((key for key in PLOTTED if any(key in w for w in song.windows.values())), None)
    if key is None:
        return ""
    lines = {stem: windows[key] for stem, windows in song.windows.items() if key in windows}
    defined = [value for line in lines.values() for value in line if value is not None]
    if not defined:
        return ""
    high = min(PLOT_HIGHEST_DB, max(5.0, 5 * math.ceil(max(defined) / 5)))
    low = max(PLOT_LOWEST_DB, min(0.0, 5 * math.floor(min(defined) / 5)))
    length = max(len(line) for line in lines.values())

    def across(index: float) -> float:
        return PLOT_LEFT + (PLOT_WIDTH - PLOT_LEFT - 10) * index / max(1, length)

    def up(value: float) -> float:
        share = (min(high, max(low, value)) - low) / (high - low)
        return 10 + (PLOT_HEIGHT - PLOT_BOTTOM - 10) * (1 - share)

    drawn = []
    for level in range(math.ceil(low / 10) * 10, int(high) + 1, 10):
        y = up(level)
        drawn.append(
            f'<line class="grid" x1="{PLOT_LEFT}" x2="{PLOT_WIDTH - 10}" y1="{y}" y2="{y}"/>'
        )
        drawn.append(f'<text x="{PLOT_LEFT - 6}" y="{y + 4}" text-anchor="end">{level}</text>')
    step = _tick_seconds(length)
    for second in range(0, length, step):
        label = f"{second // 60}:{second % 60:02d}"
        drawn.append(f'<text x="{across(second):.1f}" y="{PLOT_HEIGHT - 5}">{label}</text>')
    keys = []
    for number, (stem, line) in enumerate(lines.items()):
        colour = f"var(--c{number % 6})"
        drawn += [
            f'<polyline fill="none" stroke-width="1.6" stroke="{colour}" points="{points}"/>'
            for points in _runs(line, across, up)
        ]
        keys.append(f'<span class="key" style="background:{colour}"></span>{escape(stem)}')
    return (
        f"<p><small>{FIGURES[key].label}, dB, second by second (cut off at {low:g} and {high:g}); "
        f"gaps: a stem is silent.</small>{''.join(keys)}</p>"
        f'<svg viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" role="img" '
        f'aria-label="{FIGURES[key].label} over time">{"".join(drawn)}</svg>'
    )


def _runs(
    line: Sequence[float | None],
    across: Callable[[float], float],
    up: Callable[[float], float],
) -> list[str]:
    """Return the points of each stretch without gaps, a step per second."""
    runs: list[list[str]] = [[]]
    for index, value in enumerate(line):
        if value is None:
            runs.append([])
        else:
            runs[-1] += [f"{across(i):.1f},{up(value):.1f}" for i in (index, index + 1)]
    return [" ".join(run) for run in runs if run]


def _tick_seconds(length: int) -> int:
    return next((step for step in (1, 5, 10, 30, 60, 300) if length / step <= 12), 600)
