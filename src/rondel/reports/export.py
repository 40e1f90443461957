"""Writes the reports of a run's gates beside its capsule, passed or not."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rondel.gates import Verdict
from rondel.record.folder import write_atomically
from rondel.reports.junit import render_junit
from rondel.reports.markdown import render_markdown
from rondel.reports.openmetrics import render_openmetrics

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.record import Capsule, RunFolder

RENDERERS = {
    "gates.junit.xml": render_junit,
    "gates.openmetrics.txt": render_openmetrics,
    "gates.md": render_markdown,
}


def verdicts_of(capsule: Capsule) -> dict[str, Verdict]:
    """The verdicts of a run by stage; a stage's further gates are numbered."""
    found: dict[str, Verdict] = {}
    for record in capsule.stages:
        for number, verdict in enumerate(record.verdicts, start=1):
            name = record.name if number == 1 else f"{record.name} {number}"
            found[name] = Verdict.from_dict(asdict(verdict))
    return found


def export_reports(capsule: Capsule, folder: RunFolder) -> tuple[Path, ...]:
    """Write JUnit XML, OpenMetrics text and Markdown to ``reports/``; nothing where there was no gate."""
    verdicts = verdicts_of(capsule)
    if not verdicts:
        return ()
    written = []
    for name, render in RENDERERS.items():
        path = folder.path / "reports" / name
        write_atomically(path, render(verdicts).encode(), sync=False)
        written.append(path)
    return tuple(written)
