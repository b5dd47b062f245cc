"""Small charts as inline SVG: lines, stacked areas, bars and intervals. No script, no outside file.

Each function returns one ``<svg>``. Texts are escaped; numbers come as they are.
"""

from collections.abc import Sequence
from html import escape
from math import floor, log10
from typing import NamedTuple

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 18, 30, 40  # the legend stands above the plot
COLOURS = ("#2f6db3", "#e08a1e", "#3f9b6c", "#b3434b", "#7d62a8", "#8a7a5c")
ROW = 44  # height of one interval
N_TICKS = 5


class Series(NamedTuple):
    """A named line: one y for every x."""

    name: str
    ys: Sequence[float]


class Bound(NamedTuple):
    """A mean with half the width of its interval."""

    name: str
    mean: float
    half: float


class _Frame:
    """Axes, and where values lie between them."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x, self.y = x, y

    def at(self, x: float, y: float) -> tuple[float, float]:
        return round(self.left(x), 1), round(self.top(y), 1)

    def left(self, x: float) -> float:
        low, high = self.x
        return LEFT + (x - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def top(self, y: float) -> float:
        low, high = self.y
        return HEIGHT - BOTTOM - (y - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)

    def drawn(self, parts: Sequence[str], x_name: str, y_name: str) -> str:
        grid = []
        for value in ticks(*self.y):
            top = round(self.top(value), 1)
            grid.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top}" y2="{top}"/>'
                f'<text x="{LEFT - 6}" y="{top + 4}" text-anchor="end">{number(value)}</text>'
            )
        for value in ticks(*self.x):
            left = round(self.left(value), 1)
            grid.append(
                f'<text x="{left}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle">'
                f"{number(value)}</text>"
            )
        return _svg([*grid, *parts, *_names(x_name, y_name)])


def lines(
    xs: Sequence[float], series: Sequence[Series], *, x_name: str, y_name: str, top: float = 0
) -> str:
    """Lines over a common x."""
    highest = max([top, *(max(one.ys, default=0) for one in series)]) or 1
    frame = _Frame(_range(xs), (0, highest))
    parts = []
    for place, one in enumerate(series):
        points = " ".join("{},{}".format(*frame.at(x, y)) for x, y in zip(xs, one.ys, strict=True))
        colour = COLOURS[place % len(COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
    return frame.drawn([*parts, *_legend([one.name for one in series])], x_name, y_name)


def areas(xs: Sequence[float], series: Sequence[Series], *, x_name: str, y_name: str) -> str:
    """Areas on top of each other, the first one lowest."""
    below = [0.0] * len(xs)
    layers = []
    for one in series:
        above = [low + y for low, y in zip(below, one.ys, strict=True)]
        layers.append((below, above))
        below = above
    frame = _Frame(_range(xs), (0, max(below, default=0) or 1))
    parts = []
    for place, (low, high) in enumerate(layers):
        there = [frame.at(x, y) for x, y in zip(xs, high, strict=True)]
        back = [frame.at(x, y) for x, y in zip(reversed(xs), reversed(low), strict=True)]
        points = " ".join(f"{x},{y}" for x, y in (*there, *back))
        parts.append(f'<polygon points="{points}" fill="{COLOURS[place % len(COLOURS)]}"/>')
    return frame.drawn([*parts, *_legend([one.name for one in series])], x_name, y_name)


def histogram(counts: Sequence[int], edges: Sequence[float], *, x_name: str, y_name: str) -> str:
    """Bars between edges, evenly wide; each third edge is named."""
    frame = _Frame((0, len(counts)), (0, max(counts, default=0) or 1))
    parts = []
    for place, count in enumerate(counts):
        left, top = frame.at(place, count)
        width = round(frame.left(place + 1) - left - 1, 1)
        height = round(HEIGHT - BOTTOM - top, 1)
        parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="{COLOURS[0]}">'
            f"<title>{number(edges[place])} to {number(edges[place + 1])}: {count:,}</title></rect>"
        )
    for place in range(0, len(edges), 3):
        left = round(frame.left(place), 1)
        parts.append(
            f'<text x="{left}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle">'
            f"{number(edges[place])}</text>"
        )
    grid = []
    for value in ticks(*frame.y):
        top = round(frame.top(value), 1)
        grid.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top}" y2="{top}"/>'
            f'<text x="{LEFT - 6}" y="{top + 4}" text-anchor="end">{number(value)}</text>'
        )
    return _svg([*grid, *parts, *_names(x_name, y_name)])


def intervals(bounds: Sequence[Bound], *, x_name: str) -> str:
    """Means with their intervals, one below the other, and a line at 0."""
    finite = [b for b in bounds if b.half < float("inf")]
    low = min([0.0, *(b.mean - b.half for b in finite)])
    high = max([0.0, *(b.mean + b.half for b in finite)]) or 1.0
    room = (high - low) * 0.05
    frame = _Frame((low - room, high + room), (0, 1))
    floor_y = ROW * len(bounds) + 10
    zero = round(frame.left(0), 1)
    parts = [f'<line class="zero" x1="{zero}" x2="{zero}" y1="4" y2="{floor_y}"/>']
    for value in ticks(*frame.x):
        left = round(frame.left(value), 1)
        parts.append(
            f'<text x="{left}" y="{floor_y + 16}" text-anchor="middle">{number(value)}</text>'
        )
    for place, bound in enumerate(bounds):
        top = ROW * (place + 1) - 8
        colour = COLOURS[place % len(COLOURS)]
        if bound in finite:
            ends = frame.left(bound.mean - bound.half), frame.left(bound.mean + bound.half)
            parts.append(
                f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{top}" y2="{top}" '
                f'stroke="{colour}" stroke-width="3"/>'
            )
        parts.append(
            f'<circle cx="{frame.left(bound.mean):.1f}" cy="{top}" r="5" fill="{colour}"/>'
            f'<text x="{LEFT}" y="{top - 12}">{escape(bound.name)}: {number(bound.mean)} '
            f"± {number(bound.half)}</text>"
        )
    middle_x = (LEFT + WIDTH - RIGHT) / 2
    below = f'<text x="{middle_x}" y="{floor_y + 32}" text-anchor="middle">{escape(x_name)}</text>'
    return _svg([*parts, below], height=floor_y + 40)


def ticks(low: float, high: float) -> list[float]:
    """Round values between two, about five of them."""
    span = high - low
    if span <= 0:
        return [low]
    step = 10 ** floor(log10(span / N_TICKS))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= N_TICKS)
    first = -(-low // step) * step
    return [first + i * step for i in range(int((high - first) / step + 1e-9) + 1)]


def number(value: float) -> str:
    """Three significant digits, without needless zeros."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _range(xs: Sequence[float]) -> tuple[float, float]:
    return (min(xs), max(xs)) if xs else (0.0, 1.0)


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for place, name in enumerate(names):
        left = LEFT + place * 96
        colour = COLOURS[place % len(COLOURS)]
        parts.append(
            f'<rect x="{left}" y="6" width="10" height="10" fill="{colour}"/>'
            f'<text x="{left + 14}" y="15">{escape(name)}</text>'
        )
    return parts


def _names(x_name: str, y_name: str) -> list[str]:
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {middle_y})"'
    along_x = f'<text x="{middle_x}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_name)}</text>'
    along_y = f'<text x="14" y="{middle_y}" text-anchor="middle" {turned}>{escape(y_name)}</text>'
    return [along_x, along_y]


def _svg(parts: Sequence[str], height: int = HEIGHT) -> str:
    inside = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{inside}</svg>'
