"""Curves as SVG: seeds thin, their mean thick, a colour and a name for each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 250, 44, 52

#: Told apart by people who see no red or green (M. Okabe and K. Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

#: Ticks are apart by one of these times a power of ten, and values extend over so many at most.
STEPS = (1, 2, 2.5, 5, 10)
TICKS = 6

#: Places and values.
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """A quantity, the piece of it that is shown, and what lies between ticks."""

    name: str
    low: float
    high: float
    step: float

    @classmethod
    def around(cls, name: str, values: Sequence[float]) -> Axis:
        """Return an axis that begins and ends at ticks around ``values``."""
        low, high = min(values), max(values)
        step = tick_step(high - low or abs(high) or 1.0)
        first, last = math.floor(low / step), math.ceil(high / step)
        return cls(name, step * first, step * max(last, first + 1), step)

    def share(self, value: float) -> float:
        """Return where ``value`` lies between the ends, in [0, 1] inside."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return round values from end to end."""
        count = round((self.high - self.low) / self.step)
        return [self.low + index * self.step for index in range(count + 1)]


def tick_step(extent: float) -> float:
    """Return the least round step that has at most :data:`TICKS` steps in ``extent``."""
    power = 10.0 ** math.floor(math.log10(extent / TICKS))
    return next(s * power for s in STEPS if s * power * TICKS >= extent * (1 - 1e-9))


def draw_curves(
    title: str,
    curves: Mapping[str, Sequence[Curve]],
    *,
    x_name: str,
    y_name: str,
) -> str:
    """Return a picture of ``curves``: by name, one for each seed, all at the same places."""
    every = [point for seeds in curves.values() for curve in seeds for point in curve]
    x_axis = Axis.around(x_name, [0, *(place for place, _ in every)])
    y_axis = Axis.around(y_name, [value for _, value in every])

    def point(place: float, value: float) -> str:
        x = LEFT + x_axis.share(place) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - y_axis.share(value) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    def line(curve: Curve, colour: str, style: str) -> str:
        points = " ".join(point(*pair) for pair in curve)
        return f'<polyline points="{points}" fill="none" stroke="{colour}" {style}/>'

    parts = [_frame(title, x_axis, y_axis)]
    coloured = list(zip(curves.items(), COLOURS, strict=False))
    for (_, seeds), colour in coloured:
        parts += [line(curve, colour, 'stroke-width="1" opacity="0.45"') for curve in seeds]
    for (_, seeds), colour in coloured:
        parts.append(line(mean_curve(seeds), colour, 'stroke-width="2.8"'))
    for row, ((name, _), colour) in enumerate(coloured):
        y = TOP + 14 + 22 * row
        x = WIDTH - RIGHT + 16
        parts.append(
            f'<path d="M{x} {y - 4}h22" stroke="{colour}" stroke-width="2.8"/>'
            + _text(x + 28, y, name, anchor="start")
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean of curves at the same places."""
    return [
        (points[0][0], fmean(value for _, value in points)) for points in zip(*curves, strict=True)
    ]


def _frame(title: str, x_axis: Axis, y_axis: Axis) -> str:
    """Return title, axes, their names, ticks and a grid."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [_text(LEFT, 22, title, anchor="start", style='font-size="14" font-weight="bold"')]
    for value in x_axis.ticks():
        x = LEFT + x_axis.share(value) * (right - LEFT)
        parts.append(f'<path d="M{x:.1f} {bottom}v4" stroke="#444"/>')
        parts.append(_text(x, bottom + 18, f"{value:g}"))
    for value in y_axis.ticks():
        y = bottom - y_axis.share(value) * (bottom - TOP)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{value:.6g}", anchor="end"))
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#444"/>')
    parts.append(_text((LEFT + right) / 2, HEIGHT - 14, x_axis.name))
    middle = (TOP + bottom) / 2
    turned = f'transform="rotate(-90 16 {middle})"'
    parts.append(_text(16, middle, y_axis.name, style=turned))
    return "\n".join(parts)


def _text(x: float, y: float, text: str, *, anchor: str = "middle", style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {style}>{escape(text)}</text>'
