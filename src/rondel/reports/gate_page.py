"""A stage's gates on an HTML page: rules, challenger beside champion, curves and pictures.

Curves and pictures are files that the evaluation made. If the champion was
evaluated again, its files are shown beside the challenger's.
"""

from __future__ import annotations

import base64
import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.reports.curve_chart import Chart, chart, read_curve
from rondel.reports.formatting import number
from rondel.reports.gate_tables import comparison, slices, verdicts_of_stage
from rondel.reports.html import Column, Table, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rondel.gates import Verdict
    from rondel.record import StageRecord

_UNFOLDED_SLICES = 24
"""Rows of the table of slices up to which it is not folded."""

_LARGEST = 2_000_000
"""Bytes of a picture or a table up to which it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """A gate as the page shows it."""

    model: str
    passed: bool
    champion: str
    rules: Table
    metrics: Table
    slices: Table
    fold_slices: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A PNG file, in base64."""

    title: str
    png: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageGates:
    """The gates of a stage with what its evaluation drew; a row of pictures has those to compare."""

    stage: str
    gates: tuple[GateView, ...]
    charts: tuple[Chart, ...]
    pictures: tuple[tuple[Picture, ...], ...]
    has_champion: bool


def render_gate_page(records: Iterable[StageRecord], folder: Path) -> str:
    """The gates of these stages as an HTML page; ``folder`` is the run's."""
    return render("gate.html", stages=[gates_of(record, folder) for record in records if record.verdicts])


def gates_of(record: StageRecord, folder: Path) -> StageGates:
    """The view of a stage's gates; ``folder`` is the run's."""
    name = glob.escape(record.name)  # variants have brackets in their names
    mine = _drawings(folder, f"results/{name}/*/files")
    theirs = _drawings(folder, f"champion/{name}/files", f"champion/{name}.*/files")
    charts, pictures = [], []
    for path, file in sorted(mine.items()):
        title, other = file.stem.replace("_", " "), theirs.get(path)
        if file.suffix == ".csv":
            curve = read_curve(_text(file))
            if curve:
                charts.append(chart(title, curve, read_curve(_text(other)) if other else None))
        else:
            pair = [_picture(file, f"{title}: challenger")]
            pictures.append((*pair, _picture(other, f"{title}: champion")) if other else tuple(pair))
    if not theirs and pictures:
        pictures = [tuple(picture for row in pictures for picture in row)]  # as many in a row as fit
    return StageGates(
        stage=record.name,
        gates=tuple(_gate(verdict) for verdict in verdicts_of_stage(record)),
        charts=tuple(charts),
        pictures=tuple(pictures),
        has_champion=bool(theirs),
    )


def _gate(verdict: Verdict) -> GateView:
    champion = verdict.champion()
    # Slices have a table of their own.
    heads, *metrics = [row for row in comparison(verdict) if "[" not in row[0]]
    slice_heads, *slice_rows = slices(verdict) or [()]
    return GateView(
        model=verdict.model or "",
        passed=verdict.passed,
        champion=f"{champion[:1].upper()}{champion[1:]}.",
        rules=_rules(verdict),
        metrics=_numbers(heads, metrics, texts=1),
        slices=_numbers(slice_heads, slice_rows, texts=2),
        fold_slices=len(slice_rows) > _UNFOLDED_SLICES,
    )


def _rules(verdict: Verdict) -> Table:
    columns = (
        Column(kind="mark"),
        Column(head="rule", kind="code"),
        Column(head="challenger", kind="number"),
        Column(head="bound", kind="number"),
        Column(),
    )
    rows = [
        (
            "✓" if result.passed else "✗",
            result.rule,
            number(result.value),
            number(result.bound),
            result.reason,
        )
        for result in verdict.results
    ]
    return Table(columns, tuple(rows)).without_empty_columns()


def _numbers(heads: Sequence[str], rows: Sequence[tuple[str, ...]], *, texts: int) -> Table:
    """A table of numbers whose first columns are ``texts``."""
    columns = (
        Column(head=head, kind="text" if index < texts else "number") for index, head in enumerate(heads)
    )
    return Table(tuple(columns), tuple(rows)).without_empty_columns()


def _drawings(folder: Path, *patterns: str) -> dict[str, Path]:
    """The tables and pictures in these folders by their path in the project; the newest of each path."""
    found: dict[str, Path] = {}
    folders = [each for pattern in patterns for each in folder.glob(pattern)]
    for files in sorted(folders, key=lambda path: path.stat().st_mtime):
        for path in files.rglob("*"):
            if path.suffix in {".csv", ".png"} and path.is_file() and not path.is_symlink():
                found[path.relative_to(files).as_posix()] = path
    return {name: path for name, path in found.items() if path.stat().st_size <= _LARGEST}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _picture(path: Path, title: str) -> Picture:
    return Picture(title=title, png=base64.b64encode(path.read_bytes()).decode())
