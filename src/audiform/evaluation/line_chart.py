"""Line charts as SVG: for pages, whose colours they take, and as files by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 76, 12, 34, 46

#: Told apart without colour vision too; then, from :data:`RAMP` on, five steps of one quantity.
COLORS = (
    *("var(--c0, #0072b2)", "var(--c1, #d55e00)", "var(--c2, #009e73)", "var(--c3, #cc79a7)"),
    *("var(--c4, #8a6d00)", "var(--c5, #555)"),
    *("var(--r0, #e0a100)", "var(--r1, #dd6b20)", "var(--r2, #c0386b)", "var(--r3, #7b3fa0)"),
    "var(--r4, #28418c)",
)
RAMP = 6

#: A character of a name is about so wide.
PIXELS_PER_CHARACTER = 6.5


@dataclass(frozen=True)
class Line:
    """Points (across, up) under a name; lines of one color share an entry of the legend."""

    name: str
    points: list[tuple[float, float]]
    color: int = 0


@dataclass(frozen=True)
class Panel:
    """Lines over one pair of axes, ``size`` units wide and high."""

    lines: list[Line]
    across: str
    up: str
    log_up: bool = False
    size: tuple[int, int] = (WIDTH, HEIGHT)


def svg(panels: list[Panel]) -> str:
    """Return the panels side by side."""
    parts, x = [], 0
    for panel in panels:
        parts.append(f'<g transform="translate({x} 0)">{"".join(_panel(panel))}</g>')
        x += panel.size[0]
    size = f"0 0 {x} {max(panel.size[1] for panel in panels)}"
    names = escape("; ".join(f"{panel.up} against {panel.across}" for panel in panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" role="img" '
        f'aria-label="{names}" style="font: 12px sans-serif">\n'
        '<rect width="100%" height="100%" fill="var(--panel, #fff)"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(panel: Panel) -> Iterator[str]:
    width, height = panel.size
    every = [point for line in panel.lines for point in line.points]
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    overs = _ticks(min(0.0, left) if left < right / 2 else left, right)
    low, high = min(y for _, y in every), max(y for _, y in every)
    ups = _decades(low, high) if panel.log_up else _ticks(low, high)

    def place(x: float, y: float) -> tuple[float, float]:
        bottom, top = (math.log(v) if panel.log_up else v for v in (ups[0], ups[-1]))
        share = ((math.log(y) if panel.log_up else y) - bottom) / (top - bottom)
        across = (x - overs[0]) / (overs[-1] - overs[0])
        return (
            LEFT + (width - LEFT - RIGHT) * across,
            height - BOTTOM - (height - TOP - BOTTOM) * share,
        )

    text = 'fill="var(--soft, #444)"'
    for value in overs:
        x, y = place(value, ups[0])
        yield f'<text {text} x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{value:g}</text>'
    for value in ups:
        x, y = place(overs[0], value)
        ends = f'x1="{x:.1f}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        yield f'<line {ends} stroke="var(--line, #ddd)"/>'
        yield f'<text {text} x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    for line in panel.lines:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        color = COLORS[line.color]
        yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.6"/>'
    yield from _legend(panel)
    middle = (LEFT + width - RIGHT) / 2
    yield (
        f'<text {text} x="{middle:.1f}" y="{height - 8}" text-anchor="middle">'
        f"{escape(panel.across)}</text>"
    )
    upright = f"translate(14 {(TOP + height - BOTTOM) / 2:.1f}) rotate(-90)"
    yield f'<text {text} transform="{upright}" text-anchor="middle">{escape(panel.up)}</text>'


def _legend(panel: Panel) -> Iterator[str]:
    """Yield an entry for each color, as far apart as their names need."""
    names = {line.color: line.name for line in panel.lines if line.name}
    x = float(LEFT)
    room = panel.size[0] - LEFT - RIGHT
    wanted = sum(34 + PIXELS_PER_CHARACTER * len(name) for name in names.values())
    squeeze = min(1.0, room / wanted) if wanted else 1.0
    for color, name in names.items():
        yield f'<rect x="{x:.1f}" y="10" width="14" height="4" fill="{COLORS[color]}"/>'
        yield f'<text fill="var(--soft, #444)" x="{x + 19:.1f}" y="17">{escape(name)}</text>'
        x += squeeze * (34 + PIXELS_PER_CHARACTER * len(name))


def _ticks(low: float, high: float) -> list[float]:
    """Return about four even steps that hold both."""
    step = _round_up((high - low) / 4 or abs(high) / 4 or 1.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * k for k in range(first, max(last, first + 1) + 1)]


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 5, 8 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * (1 - 1e-9))


def _decades(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten that hold both."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    inside = [value for value in every if low <= value <= high]
    below = max((value for value in every if value < low), default=low)
    above = min((value for value in every if value > high), default=high)
    return [below, *inside, above]
