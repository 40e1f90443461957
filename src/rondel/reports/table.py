"""Plain tables and times. No rich here: the table also ends runs that have half a second in all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from rondel.record import Capsule, StageRecord

COLOURS = {
    "ran": "32",
    "restored": "36",
    "cached": "36",
    "failed": "31;1",
    "skipped": "33",
    "cancelled": "33",
    "running": "34",
}
SHOWN_METRICS = 3
_FEWEST = 3
"""Columns that stay, however narrow the terminal is."""

TIMED = frozenset({"ran", "restored", "failed", "cancelled"})
"""The states of stages that took time worth telling."""


def paint(text: str, code: str, *, colour: bool) -> str:
    """``text`` in an ANSI colour, if colour is wanted."""
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text


def duration(seconds: float) -> str:
    """A time as people read it: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``1 h 12 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def metric(value: float) -> str:
    """A metric in four significant digits; of a large number all before the point."""
    size = abs(value)
    return f"{value:.0f}" if 1e4 <= size < 1e9 else f"{value:.4g}"


def coloured(out: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether colours are wanted there; NO_COLOR and dumb terminals are honoured."""
    return out.isatty() and environ.get("TERM", "dumb") != "dumb" and not environ.get("NO_COLOR")


def width_of(out: TextIO) -> int | None:
    """How wide the terminal is; None where the output goes elsewhere, and nothing has to be left out."""
    if not out.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    try:
        return int(given) if given.isdecimal() else os.get_terminal_size(out.fileno()).columns
    except (OSError, ValueError):
        return None


def columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, indent: str = "", width: int | None = None
) -> list[str]:
    """Lines with aligned columns; columns that are empty everywhere are left out.

    So are the last ones where ``width`` is not enough for all, down to three.
    """
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    lines = _aligned(header, rows, kept, indent)
    while width and len(kept) > _FEWEST and max(map(len, lines)) > width:
        lines = _aligned(header, rows, kept := kept[:-1], indent)
    return lines


def _aligned(
    header: Sequence[str], rows: Sequence[Sequence[str]], kept: Sequence[int], indent: str
) -> list[str]:
    table = [[header[index] for index in kept], *([row[index] for index in kept] for row in rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(kept))]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in table
    ]


def summary(capsule: Capsule, *, colour: bool = False, width: int | None = None) -> list[str]:
    """The table that ends a run: stage, state, time, key metrics, MLflow run, as far as ``width`` allows."""
    header = ("stage", "state", "time", "metrics", "mlflow run")
    rows = [_row(record) for record in capsule.stages]
    lines = columns(header, rows, width=width)
    shown = [paint(lines[0], "2", colour=colour)]
    for record, line in zip(capsule.stages, lines[1:], strict=True):
        start = line.find(record.state, len(record.name))
        end = start + len(record.state)
        state = paint(record.state, COLOURS.get(record.state, ""), colour=colour)
        shown.append(line[:start] + state + line[end:])
    return shown


def _row(record: StageRecord) -> tuple[str, str, str, str, str]:
    ran = record.state in TIMED
    return (
        record.name,
        record.state,
        duration(record.seconds) if ran else "",
        key_metrics(record),
        record.mlflow.run_id[:12] if record.mlflow else "",
    )


def key_metrics(record: StageRecord, limit: int = SHOWN_METRICS) -> str:
    """The metrics to show for a stage: those that a gate looked at first."""
    judged = [str(rule.get("metric")) for verdict in record.verdicts for rule in verdict.rules]
    names = list(dict.fromkeys([name for name in judged if name in record.metrics] + list(record.metrics)))
    text = " ".join(f"{name}={metric(record.metrics[name])}" for name in names[:limit])
    return f"{text} …" if len(names) > limit else text
