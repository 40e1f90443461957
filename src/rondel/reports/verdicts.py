"""The verdicts of a run as files beside its capsule, written whether the gate passed or not."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rondel.files.atomic import write_atomic
from rondel.gates import Verdict
from rondel.reports.junit import render_junit
from rondel.reports.markdown import render_markdown
from rondel.reports.openmetrics import render_openmetrics
from rondel.reports.page import render_page

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.record import Capsule

FILES = {"junit.xml": render_junit, "metrics.txt": render_openmetrics, "gate.md": render_markdown}
PAGE = "gate.html"


def write_reports(capsule: Capsule, folder: Path) -> list[Path]:
    """Write the reports of all gates of the run to ``folder``/reports; none without a gate."""
    verdicts = verdicts_of(capsule)
    if not verdicts:
        return []
    reports = folder / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    for name, render in FILES.items():
        write_atomic(reports / name, render(verdicts).encode())
    write_atomic(reports / PAGE, render_page(capsule.stages, folder).encode())
    return [reports / name for name in (*FILES, PAGE)]


def verdicts_of(capsule: Capsule) -> dict[str, Verdict]:
    """The verdicts by stage; a stage's second gate is ``STAGE (2)``."""
    found = {}
    for record in capsule.stages:
        for number, verdict in enumerate(record.verdicts, start=1):
            name = record.name if number == 1 else f"{record.name} ({number})"
            found[name] = Verdict.from_dict(asdict(verdict))
    return found
