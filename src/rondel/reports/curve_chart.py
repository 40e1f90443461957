"""A chart with the curves of challenger and champion: reads the CSV files and places lines and ticks."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 400, 300
LEFT, TOP, RIGHT, BOTTOM = 52, 12, 12, 42
_TICKS = 5
_MOST_POINTS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """The points of a curve and the names of its axes."""

    x: str
    y: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A line of the grid: its place in the drawing, and the value there."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart whose places are in the units of its view box; ``champion`` is empty if there is none."""

    title: str
    x: str
    y: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    challenger: str
    champion: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    top: int = TOP
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def read_curve(text: str) -> Curve | None:
    """The curve in the first two columns of a CSV file; None if they have fewer than two points."""
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


def chart(title: str, challenger: Curve, champion: Curve | None) -> Chart:
    """Both curves on the same axes."""
    points = [*challenger.points, *(champion.points if champion else ())]
    low_x, high_x = _range([x for x, _ in points])
    low_y, high_y = _range([y for _, y in points])

    def across(x: float) -> float:
        return LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - (y - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)

    def line(curve: Curve) -> str:
        return " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in curve.points)

    return Chart(
        title=title,
        x=challenger.x.replace("_", " "),
        y=challenger.y.replace("_", " "),
        x_ticks=tuple(Tick(at=round(across(x), 1), label=f"{x:.3g}") for x in _ticks(low_x, high_x)),
        y_ticks=tuple(Tick(at=round(down(y), 1), label=f"{y:.3g}") for y in _ticks(low_y, high_y)),
        challenger=line(challenger),
        champion=line(champion) if champion else "",
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:  # rates and probabilities: from 0 to the next tenth
        return 0.0, max(math.ceil(high * 10 - 1e-9) / 10, 0.1)
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Five steps, or a number of steps that gives a rate's axis round tenths."""
    tenths = round(high * 10) if low == 0 and high <= 1 else _TICKS
    steps = next((count for count in (5, 4, 6, 3, 7) if tenths % count == 0), _TICKS)
    return [low + (high - low) * number / steps for number in range(steps + 1)]
