"""When the stages of a run ran, as rows with a bar each; pure.

Bars are SVG with places in percent, so that they need no styles and fit any width.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from rondel.reports.table import TIMED, duration

if TYPE_CHECKING:
    from rondel.record import Capsule, StageRecord

COLOURS = {"ran": "#2f8f4e", "restored": "#3d8fb5", "failed": "#c62a35", "cancelled": "#b98018"}
_OTHER = "#8a939d"
_NARROWEST = 0.6
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)

STYLE = """
table.timeline { width: 100% }
.timeline td { border: 0; padding: .12rem .8rem .12rem 0; vertical-align: middle; white-space: nowrap }
.timeline td:first-child { max-width: min(16rem, 34vw); overflow: hidden; text-overflow: ellipsis }
.timeline td.bar { width: 100%; padding: 0; border-left: 1px solid var(--line) }
.timeline svg { display: block; width: 100% }
@media (max-width: 40rem) { .timeline td.n, .timeline text:nth-child(even) { display: none } }
.timeline text { fill: var(--soft); font: 11px system-ui, sans-serif }
"""


def timeline(capsule: Capsule) -> str:
    """The stages below one another on one axis of time; empty when none has times."""
    begin = _time(capsule.created)
    timed = [record for record in capsule.stages if record.state in TIMED and _time(record.started)]
    if begin is None or not timed:
        return ""
    starts = {record.name: _offset(record.started, begin) for record in timed}
    ends = {record.name: starts[record.name] + record.seconds for record in timed}
    whole = max(capsule.seconds, *ends.values(), 0.001)
    rows = [
        f"<tr><td>{escape(record.name)}</td><td class='n'>{escape(_took(record))}</td>"
        f"<td class='bar'>{_bar(record, starts.get(record.name), whole)}</td></tr>"
        for record in capsule.stages
    ]
    rows.append(f"<tr><td></td><td class='n'></td><td class='bar'>{_axis(whole)}</td></tr>")
    return f"<table class='timeline'>{''.join(rows)}</table>"


def _took(record: StageRecord) -> str:
    return duration(record.seconds) if record.state in TIMED else record.state


def _bar(record: StageRecord, start: float | None, whole: float) -> str:
    look = f'y1="0" y2="22" stroke="{_OTHER}" stroke-opacity=".25"'
    places = [f"{at / whole:.2%}" for at in _ticks(whole)]
    lines = "".join(f'<line x1="{place}" x2="{place}" {look}/>' for place in places)
    if start is None:
        return f'<svg width="100%" height="22">{lines}</svg>'
    wide = max(record.seconds / whole * 100, _NARROWEST)
    left = min(start / whole * 100, 100 - wide)
    told = f"{record.name} {record.state}: from {duration(start)} to {duration(start + record.seconds)}"
    return (
        f'<svg width="100%" height="22" role="img" aria-label="{escape(told)}">'
        f"<title>{escape(told)}</title>{lines}"
        f'<rect x="{left:.2f}%" y="4" width="{wide:.2f}%" height="14" rx="3" '
        f'fill="{COLOURS.get(record.state, _OTHER)}"/></svg>'
    )


def _axis(whole: float) -> str:
    labels = "".join(
        f'<text x="{at / whole:.2%}" y="13" text-anchor="{"start" if at / whole < 0.03 else "middle"}">'
        f"{escape(_round(at))}</text>"
        for at in _ticks(whole)
        if at / whole < 0.97
    )
    return f'<svg width="100%" height="18" aria-hidden="true">{labels}</svg>'


def _round(seconds: float) -> str:
    """A round time in one unit where that says it."""
    for unit, word in ((3600, "h"), (60, "min")):
        if seconds and seconds % unit == 0:
            return f"{seconds / unit:.0f} {word}"
    return duration(seconds) if seconds else "0"


def _ticks(whole: float) -> list[float]:
    """Two to five round times between the start and the end."""
    step = next((each for each in _STEPS if whole / each <= 5), whole / 4)
    return [step * number for number in range(int(whole / step) + 1)]


def _time(iso: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(iso) if iso else None
    except ValueError:
        return None


def _offset(iso: str | None, begin: datetime) -> float:
    """Seconds from the run's begin; a clock that was set back meanwhile makes none of them negative."""
    found = _time(iso)
    try:
        return max((found - begin).total_seconds(), 0.0) if found else 0.0
    except TypeError:  # one of the two has no time zone
        return 0.0
