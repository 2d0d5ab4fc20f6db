"""Line charts as SVG, for the figures of the documentation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 34, 46

#: Blue, orange, green, purple: told apart without colour vision too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


@dataclass(frozen=True)
class Line:
    """Points (across, up) under a name; lines of one color share an entry of the legend."""

    name: str
    points: list[tuple[float, float]]
    color: int = 0


@dataclass(frozen=True)
class Panel:
    """Lines over one pair of axes."""

    lines: list[Line]
    across: str
    up: str
    log_up: bool = False


def svg(panels: list[Panel]) -> str:
    """Return the panels side by side."""
    parts = [
        f'<g transform="translate({WIDTH * index} 0)">{"".join(_panel(panel))}</g>'
        for index, panel in enumerate(panels)
    ]
    size = f"0 0 {WIDTH * len(panels)} {HEIGHT}"
    style = "font: 12px sans-serif; background: #fff"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" style="{style}">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(panel: Panel) -> Iterator[str]:
    every = [point for line in panel.lines for point in line.points]
    right = _round_up(max(x for x, _ in every))
    low, high = min(y for _, y in every), max(y for _, y in every)
    ups = _decades(low, high) if panel.log_up else _ticks(low, high)

    def place(x: float, y: float) -> tuple[float, float]:
        bottom, top = (math.log(v) if panel.log_up else v for v in (ups[0], ups[-1]))
        share = ((math.log(y) if panel.log_up else y) - bottom) / (top - bottom)
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * x / right,
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share,
        )

    for tick in range(5):
        x, y = place(right * tick / 4, ups[0])
        yield f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{right * tick / 4:g}</text>'
    for value in ups:
        x, y = place(0.0, value)
        yield f'<line x1="{x:.1f}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    for line in panel.lines:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        color = COLORS[line.color]
        yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.6"/>'
    names = {line.color: line.name for line in panel.lines}
    for row, (color, name) in enumerate(names.items()):
        x = LEFT + row * (WIDTH - LEFT - RIGHT) / len(names)
        yield f'<rect x="{x:.1f}" y="10" width="14" height="4" fill="{COLORS[color]}"/>'
        yield f'<text x="{x + 19:.1f}" y="17">{name}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{panel.across}</text>'
    upright = f"translate(14 {(TOP + HEIGHT - BOTTOM) / 2:.1f}) rotate(-90)"
    yield f'<text transform="{upright}" text-anchor="middle">{panel.up}</text>'


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 5, 8 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * (1 - 1e-9))


def _ticks(low: float, high: float) -> list[float]:
    """Return about four even steps that hold both."""
    step = _round_up((high - low) / 4)
    return [step * k for k in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten that hold both."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    inside = [value for value in every if low <= value <= high]
    below = max((value for value in every if value < low), default=low)
    above = min((value for value in every if value > high), default=high)
    return [below, *inside, above]
