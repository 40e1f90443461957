"""Text for terminals and pipes: colours, widths, aligned columns, and the table at the end of a run.

Rich is too slow to import here: a run with nothing to do prints this table, too.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from rondel.reports.formatting import key_metrics, stage_time

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
_MIN_COLUMNS = 3
"""How many columns even the narrowest terminal gets."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
"""Colours, cursor movements and window titles."""


def paint(text: str, code: str, *, colour: bool) -> str:
    """``text`` in an ANSI colour if ``colour`` is set."""
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text


def coloured(out: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to print colours: only to a terminal that has them, and never if NO_COLOR is set."""
    return out.isatty() and environ.get("TERM", "dumb") != "dumb" and not environ.get("NO_COLOR")


def width_of(out: TextIO) -> int | None:
    """The terminal's width in columns; None if the output goes elsewhere."""
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
    """Lines with aligned columns, without those that are empty in every row.

    If ``width`` is too small for all of them, the last ones are dropped, down to three.
    """
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    lines = _aligned(header, rows, kept, indent)
    while width and len(kept) > _MIN_COLUMNS and max(map(len, lines)) > width:
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
    """The table at the end of a run: stage, state, time, key metrics and MLflow run, cut to ``width``."""
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
    return (
        record.name,
        record.state,
        stage_time(record),
        key_metrics(record),
        record.mlflow.run_id[:12] if record.mlflow else "",
    )


def as_seen(line: str) -> str:
    """A line of a tool's output as a terminal finally shows it: after all rewriting, and without colours."""
    text = _ESCAPES.sub("", line).rstrip("\r\n").rpartition("\r")[2].expandtabs()
    return "".join(each if each.isprintable() else " " for each in text)


def discard_output(stream: TextIO) -> None:
    """Send what a closed pipe no longer takes to /dev/null, or Python complains about it at exit."""
    try:
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError):  # no file, as in a test
        return
