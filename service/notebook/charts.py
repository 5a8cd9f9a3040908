"""Learning curves as SVG, to stand in an HTML page. The page's style sheet has the colours: `line-0` and so on."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 520, 290
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 36
MOST_TICKS = 6

MOST_LINES = 6
"""So many colours the style sheet has."""


class Line(NamedTuple):
    """A named line through one value an epoch, from epoch 1 on."""

    name: str
    values: Sequence[float]


def line_chart(title: str, lines: Sequence[Line]) -> str:
    """All lines over the epochs, in one picture; its only text is the title, for those who cannot see it."""
    values = [value for line in lines for value in line.values]
    if not values:
        return ""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    epochs = max(len(line.values) for line in lines)
    parts = [*_grid(low, high), *_epochs(epochs)]
    for index, line in enumerate(lines):
        points = [(_x(epoch, epochs), _y(value, low, high)) for epoch, value in enumerate(line.values)]
        colour = f"line-{index % MOST_LINES}"
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="{colour}" points="{path}"/>')
        parts += [f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return f"{head}{''.join(parts)}</svg>"


def _grid(low: float, high: float) -> list[str]:
    parts = []
    step = _step(high - low)
    for tick in range(math.ceil(low / step), math.floor(high / step) + 1):
        value = tick * step
        y = _y(value, low, high)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    return parts


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten: the smallest that divides a span into no more parts than there may be."""
    order = 10.0 ** math.floor(math.log10(span / MOST_TICKS))
    return next(order * factor for factor in (1, 2, 5, 10) if span / (order * factor) <= MOST_TICKS)


def _epochs(epochs: int) -> list[str]:
    # No more numbers than there is room for.
    step = max(1, -(-epochs // 12))
    numbers = [
        f'<text x="{_x(epoch, epochs):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{epoch + 1}</text>'
        for epoch in range(0, epochs, step)
    ]
    return [*numbers, f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">epoch</text>']


def _x(epoch: int, epochs: int) -> float:
    return LEFT + 8 + (WIDTH - LEFT - RIGHT - 16) * (epoch / (epochs - 1) if epochs > 1 else 0.5)


def _y(value: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)
