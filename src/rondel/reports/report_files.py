"""The files that reports are written to, for CI systems, for MLflow and beside the capsule.

CI systems collect the reports of the last run from paths that never change. They are
written after each run, whatever its outcome, and replace those of the run before.
"""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING

from rondel.files.atomic import write_atomic
from rondel.reports.formatting import first_line, headline, number
from rondel.reports.gate_tables import comparison, slices, verdicts_of_run, verdicts_of_stage
from rondel.reports.junit import render_error, render_junit
from rondel.reports.markdown import fenced, render_gates, render_run
from rondel.reports.openmetrics import render_openmetrics
from rondel.secrets.masker import Masker
from rondel.secrets.values import secret_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rondel.errors import RondelError
    from rondel.gates import Verdict
    from rondel.record import Capsule, StageRecord

FOLDER = ".rondel/reports"
PAGE = "report.html"
_NAMES = ("junit.xml", "metrics.txt", "report.md", PAGE, "outputs.env", "verdict.txt")
_NOT_STARTED = "The run could not start"


def publish(capsule: Capsule, root: Path, folder: Path) -> Path:
    """Write all reports of a run that has ended, the page to its ``folder``, too. Returns their folder."""
    from rondel.reports.run_page import render_run_page

    page = render_run_page(capsule, folder)
    write_atomic(folder / PAGE, _encoded(page), sync=False)
    verdicts = verdicts_of_run(capsule)
    texts = {
        "junit.xml": render_junit(verdicts, capsule.stages),
        "metrics.txt": render_openmetrics(verdicts, capsule.stages),
        "report.md": render_run(capsule),
        PAGE: page,
        "outputs.env": render_outputs(capsule),
        "verdict.txt": f"{headline(capsule)}\n",
    }
    return _write(root, texts)


def publish_error(error: RondelError, root: Path, masker: Masker | None = None) -> Path:
    """Write the reports of a run that could not start, without secrets: by default the environment's."""
    from rondel.reports.run_page import render_error_page

    text = (masker or Masker(secret_values(os.environ))).text(error.render())
    outputs = {"RONDEL_RUN_STATE": "not started", "RONDEL_RUN_EXIT_CODE": str(error.exit_code)}
    texts = {
        "junit.xml": render_error(text),
        "metrics.txt": "# EOF\n",
        "report.md": f"## {_NOT_STARTED}\n\n{fenced(text)}\n",
        PAGE: render_error_page(_NOT_STARTED, text),
        "outputs.env": _dotenv(outputs),
        "verdict.txt": f"not started: {first_line(text)}\n",
    }
    return _write(root, texts)


def withdraw(root: Path) -> None:
    """Remove the last run's reports, so that CI never takes them for those of the run that starts now."""
    for name in _NAMES:
        (root / FOLDER / name).unlink(missing_ok=True)


def write_gate_reports(capsule: Capsule, folder: Path) -> list[Path]:
    """Write the reports of a run's gates to ``folder``/reports. Returns their paths, if there are any."""
    verdicts = verdicts_of_run(capsule)
    if not verdicts:
        return []
    from rondel.reports.gate_page import render_gate_page

    texts = {
        "junit.xml": render_junit(verdicts),
        "metrics.txt": render_openmetrics(verdicts),
        "gate.md": render_gates(verdicts),
        "gate.html": render_gate_page(capsule.stages, folder),
    }
    reports = folder / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomic(reports / name, _encoded(text))
    return [reports / name for name in texts]


def gate_files(record: StageRecord, folder: Path) -> dict[str, bytes]:
    """The files about a stage's gates that MLflow keeps, by path: the page, Markdown and tables.

    ``folder`` is the run's. Empty for a stage without a gate.
    """
    if not record.verdicts:
        return {}
    from rondel.reports.gate_page import render_gate_page

    found = {"gate/report.html": _encoded(render_gate_page([record], folder))}
    for count, verdict in enumerate(verdicts_of_stage(record), start=1):
        prefix = "gate" if count == 1 else f"gate/{count}"
        found[f"{prefix}/gate.md"] = _encoded(render_gates({record.name: verdict}))
        tables = {"rules": _rules(verdict), "comparison": comparison(verdict), "slices": slices(verdict)}
        found |= {f"{prefix}/{name}.csv": _csv(rows) for name, rows in tables.items() if rows}
    return found


def render_outputs(capsule: Capsule) -> str:
    """Variables for later jobs, in the format of GitLab's ``dotenv`` report.

    One line each, names of letters, digits and underscores, values without
    line breaks and quotes: https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv
    """
    judged = [verdict.passed for record in capsule.stages for verdict in record.verdicts]
    outputs = {
        "RONDEL_RUN_ID": capsule.id,
        "RONDEL_RUN_STATE": capsule.state,
        "RONDEL_RUN_EXIT_CODE": str(capsule.exit_code if capsule.exit_code is not None else ""),
        "RONDEL_RUN_GATE": "" if not judged else "passed" if all(judged) else "failed",
        "RONDEL_RUN_CAPSULE": f".rondel/runs/{capsule.id}/capsule.json",
    }
    if capsule.mlflow:
        outputs["RONDEL_RUN_MLFLOW_ID"] = capsule.mlflow.run_id
    return _dotenv(outputs)


def _dotenv(outputs: dict[str, str]) -> str:
    return "".join(f"{name}={' '.join(value.split())}\n" for name, value in outputs.items())


def _rules(verdict: Verdict) -> list[tuple[str, ...]]:
    rows = [
        (rule.rule, "yes" if rule.passed else "no", number(rule.value), number(rule.bound), rule.reason)
        for rule in verdict.results
    ]
    return [("rule", "holds", "value", "bound", "reason"), *rows]


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return _encoded(text.getvalue())


def _write(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        # Not synced: after a power loss the capsule matters, not its reports.
        write_atomic(root / FOLDER / name, _encoded(text), sync=False)
    return root / FOLDER


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
