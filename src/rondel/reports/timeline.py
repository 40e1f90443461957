"""A timeline of a run's stages, as places in percent of its width.

SVG needs no styles for these and fits any width: Jenkins serves artifacts under
a policy that forbids styles.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rondel.reports.formatting import TIMED_STATES, duration, stage_time

if TYPE_CHECKING:
    from rondel.record import Capsule, StageRecord

_COLOURS = {"ran": "#2f8f4e", "restored": "#3d8fb5", "failed": "#c62a35", "cancelled": "#b98018"}
_NARROWEST = 0.6
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """When a stage ran."""

    left: str
    width: str
    colour: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A stage with its time, or its state in place of it; ``bar`` is None if it did no work."""

    stage: str
    time: str
    bar: Bar | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeTick:
    """A line of the grid; ``label`` is empty at the right edge, where there is no room for it."""

    at: str
    label: str
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The stages below one another on one axis of time."""

    rows: tuple[Row, ...]
    ticks: tuple[TimeTick, ...]


def timeline(capsule: Capsule) -> Timeline | None:
    """The timeline of a run; None if no stage has times."""
    begin = _time(capsule.created)
    timed = [record for record in capsule.stages if record.state in TIMED_STATES and _time(record.started)]
    if begin is None or not timed:
        return None
    starts = {record.name: _offset(record.started, begin) for record in timed}
    whole = max(capsule.seconds, *(starts[record.name] + record.seconds for record in timed), 0.001)
    return Timeline(
        rows=tuple(
            Row(
                stage=record.name,
                time=stage_time(record) or record.state,
                bar=_bar(record, starts[record.name], whole) if record.name in starts else None,
            )
            for record in capsule.stages
        ),
        ticks=tuple(_tick(at, whole) for at in _ticks(whole)),
    )


def _bar(record: StageRecord, start: float, whole: float) -> Bar:
    wide = max(record.seconds / whole * 100, _NARROWEST)
    left = min(start / whole * 100, 100 - wide)
    times = f"from {duration(start)} to {duration(start + record.seconds)}"
    return Bar(
        left=f"{left:.2f}%",
        width=f"{wide:.2f}%",
        colour=_COLOURS[record.state],
        label=f"{record.name} {record.state}: {times}",
    )


def _tick(at: float, whole: float) -> TimeTick:
    place = at / whole
    return TimeTick(
        at=f"{place:.2%}",
        label=_short(at) if place < 0.97 else "",
        anchor="start" if place < 0.03 else "middle",
    )


def _short(seconds: float) -> str:
    """A time in one unit if it is a round number of them."""
    for unit, word in ((3600, "h"), (60, "min")):
        if seconds and seconds % unit == 0:
            return f"{seconds / unit:.0f} {word}"
    return duration(seconds) if seconds else "0"


def _ticks(whole: float) -> list[float]:
    """Round times, two to five of them between start and end."""
    step = next((each for each in _STEPS if whole / each <= 5), whole / 4)
    return [step * number for number in range(int(whole / step) + 1)]


def _time(iso: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(iso) if iso else None
    except ValueError:
        return None


def _offset(iso: str | None, begin: datetime) -> float:
    """Seconds since the run began; 0 if the clock was set back in between."""
    found = _time(iso)
    try:
        return max((found - begin).total_seconds(), 0.0) if found else 0.0
    except TypeError:  # only one of the two has a time zone
        return 0.0
