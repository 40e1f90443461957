"""The reports of the last run at paths that never change, where CI systems collect them.

They are written after every run, whatever its end, and stand for that run
alone: what an earlier one left is replaced or removed.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from rondel.files.atomic import write_atomic
from rondel.reports.html import page as html_page
from rondel.reports.junit import render_error, render_junit
from rondel.reports.markdown import cell, render_markdown
from rondel.reports.openmetrics import render_openmetrics
from rondel.reports.table import TIMED, duration, key_metrics
from rondel.reports.verdicts import verdicts_of

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.errors import RondelError
    from rondel.record import Capsule, StageRecord

FOLDER = ".rondel/reports"
PAGE = "report.html"
NOT_STARTED = "The run could not start"
NAMES = ("junit.xml", "metrics.txt", "report.md", "report.html", "outputs.env", "verdict.txt")

MARKS = {"ran": "✅", "restored": "♻️", "cached": "♻️", "failed": "❌", "skipped": "➖", "cancelled": "⏹️"}
WORDS = {
    "succeeded": "succeeded",
    "failed": "failed",
    "waiting": "waits for approval",
    "interrupted": "was interrupted",
}


def publish(capsule: Capsule, root: Path, folder: Path) -> Path:
    """Write all reports of a run that has ended; where they are. Its page stands in its ``folder``, too."""
    from rondel.reports.run_page import render_run

    page = render_run(capsule, folder)
    write_atomic(folder / PAGE, page.encode("utf-8", "replace"), sync=False)
    verdicts = verdicts_of(capsule)
    texts = {
        "junit.xml": render_junit(verdicts, capsule.stages),
        "metrics.txt": render_openmetrics(verdicts, capsule.stages),
        "report.md": render_report(capsule),
        PAGE: page,
        "outputs.env": render_outputs(capsule),
        "verdict.txt": f"{verdict_line(capsule)}\n",
    }
    return _write(root, texts)


def publish_error(error: RondelError, root: Path) -> Path:
    """Write the reports of a run that could not start."""
    text = error.render()
    first = text.splitlines()[0]
    outputs = {"RONDEL_RUN_STATE": "not started", "RONDEL_RUN_EXIT_CODE": str(error.exit_code)}
    texts = {
        "junit.xml": render_error(text),
        "metrics.txt": "# EOF\n",
        "report.md": f"## {NOT_STARTED}\n\n```\n{text.replace('```', '~~~')}\n```\n",
        PAGE: html_page(NOT_STARTED, f"<h1>{NOT_STARTED}</h1><pre>{escape(text)}</pre>"),
        "outputs.env": _dotenv(outputs),
        "verdict.txt": f"not started: {first}\n",
    }
    return _write(root, texts)


def withdraw(root: Path) -> None:
    """Remove the last run's reports, so that they are never taken for those of the run that begins."""
    for name in NAMES:
        (root / FOLDER / name).unlink(missing_ok=True)


def _write(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        # Not synced: whoever lost power will not look at these, but at the capsule.
        write_atomic(root / FOLDER / name, text.encode("utf-8", "replace"), sync=False)
    return root / FOLDER


def verdict_line(capsule: Capsule) -> str:
    """The run in one line: what it came to, and the gate or stage that decided it."""
    if capsule.exit_code == 12:
        waiting = [record for record in capsule.stages if record.reason.startswith("waiting for approval")]
        return "; ".join(f"{record.name}: {record.reason}" for record in waiting) or "waiting for approval"
    failed = next((record for record in capsule.stages if record.state == "failed"), None)
    refused = failed is not None and any(not verdict.passed for verdict in failed.verdicts)
    if failed is not None and refused:
        return f"gate of {failed.name} not passed: {_rules(failed)}"
    if failed is not None:
        return f"{failed.name} failed: {_first_line(failed.error)}"
    if capsule.state != "succeeded":
        return f"{capsule.state}: {_first_line(capsule.error)}"
    judged = [record for record in capsule.stages if record.verdicts]
    if judged:
        return "; ".join(f"gate of {record.name} passed: {_rules(record)}" for record in judged)
    return f"succeeded: {', '.join(f'{record.name} {record.state}' for record in capsule.stages)}"


def _rules(record: StageRecord) -> str:
    rules = [rule for verdict in record.verdicts for rule in verdict.rules]
    held = sum(bool(rule.get("passed")) for rule in rules)
    text = f"{held} of {len(rules)} rules hold"
    metrics = key_metrics(record)
    return f"{text} ({metrics})" if metrics else text


def _first_line(text: str | None) -> str:
    return (text or "").splitlines()[0] if text else ""


def render_report(capsule: Capsule) -> str:
    """The run as Markdown, for a note on a merge request or a job's summary."""
    word = WORDS.get(capsule.state, capsule.state)
    lines = [f"## `{capsule.pipeline}` {word}", "", cell(verdict_line(capsule)), ""]
    lines += ["| | stage | state | time | metrics |", "|---|---|---|---:|---|"]
    lines += [_row(record) for record in capsule.stages]
    lines += ["", *_facts(capsule), ""]
    verdicts = verdicts_of(capsule)
    if verdicts:
        lines.append(re.sub(r"^#", "##", render_markdown(verdicts), flags=re.MULTILINE))
    failed = next((record for record in capsule.stages if record.error), None)
    if failed is not None:
        text = (failed.error or "").replace("```", "~~~")
        lines += ["<details><summary>What failed</summary>", "", "```", text, "```", "", "</details>", ""]
    return "\n".join(lines)


def _row(record: StageRecord) -> str:
    took = duration(record.seconds) if record.state in TIMED else ""
    cells = (MARKS.get(record.state, ""), record.name, record.state, took, key_metrics(record))
    return f"| {' | '.join(cell(each) for each in cells)} |"


def _facts(capsule: Capsule) -> list[str]:
    facts = [f"Run `{capsule.id}`"]
    if capsule.git.commit:
        facts.append(f"commit `{capsule.git.commit[:12]}`{' with changes' if capsule.git.dirty else ''}")
    if capsule.engine:
        facts.append(f"engine {capsule.engine.kind}")
    if capsule.mlflow and capsule.mlflow.url and not re.match(r"https?://127\.", capsule.mlflow.url):
        facts.append(f"[MLflow]({capsule.mlflow.url})")
    return [" · ".join(facts)]


def render_outputs(capsule: Capsule) -> str:
    """Variables for the jobs that come after this one, as GitLab's ``dotenv`` report has them.

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
