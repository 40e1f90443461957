"""Curves of champion and challenger in one drawing, as SVG; pure."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 400, 300
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 12, 12, 42
_TICKS = 5
_MOST_POINTS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Points of a curve, and what its axes are."""

    x: str
    y: str
    points: tuple[tuple[float, float], ...]


def read_curve(text: str) -> Curve | None:
    """The curve in a CSV file: its first two columns; None when they are not at least two points."""
    rows = list(csv.reader(io.StringIO(text)))
    if len(rows) < 3 or len(rows[0]) < 2:
        return None
    points = []
    for row in rows[1 : _MOST_POINTS + 1]:
        try:
            point = float(row[0]), float(row[1])
        except (ValueError, IndexError):
            return None
        if all(map(math.isfinite, point)):
            points.append(point)
    return Curve(x=rows[0][0], y=rows[0][1], points=tuple(points)) if len(points) > 1 else None


def draw(title: str, challenger: Curve, champion: Curve | None) -> str:
    """Both curves on the same axes; the champion's is dashed."""
    shown = [challenger, *([champion] if champion else [])]
    low_x, high_x = _range([x for curve in shown for x, _ in curve.points])
    low_y, high_y = _range([y for curve in shown for _, y in curve.points])
    inner_w, inner_h = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (x - low_x) / (high_x - low_x) * inner_w,
            _TOP + inner_h - (y - low_y) / (high_y - low_y) * inner_h,
        )

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    bottom = HEIGHT - _BOTTOM
    for at in _ticks(low_x, high_x):
        x, _ = place(at, low_y)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{at:.3g}</text>')
    for at in _ticks(low_y, high_y):
        _, y = place(low_x, at)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{at:.3g}</text>')
    middle = _LEFT + inner_w / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{_words(challenger.x)}</text>')
    turned = f'transform="rotate(-90 12 {_TOP + inner_h / 2})" text-anchor="middle"'
    parts.append(f'<text x="12" y="{_TOP + inner_h / 2}" {turned}>{_words(challenger.y)}</text>')
    if champion:
        parts.append(_line(champion.points, place, "champion"))
    parts.append(_line(challenger.points, place, "challenger"))
    return "".join([*parts, "</svg>"])


def _line(points: Sequence[tuple[float, float]], place: object, kind: str) -> str:
    assert callable(place)  # noqa: S101 - a local function of `draw`
    corners = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
    return f'<polyline class="{kind}" points="{corners}"/>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:  # rates and probabilities: from nothing to the next tenth
        return 0.0, max(math.ceil(high * 10 - 1e-9) / 10, 0.1)
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Five steps, or as many as make round tenths of a rate's range."""
    tenths = round(high * 10) if low == 0 and high <= 1 else _TICKS
    steps = next((count for count in (5, 4, 6, 3, 7) if tenths % count == 0), _TICKS)
    return [low + (high - low) * number / steps for number in range(steps + 1)]


def _words(name: str) -> str:
    return escape(name.replace("_", " "))
