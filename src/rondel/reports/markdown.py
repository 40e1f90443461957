"""A run and its gates as Markdown, for merge requests, job summaries and model cards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rondel.reports.formatting import RUN_WORDS, headline, key_metrics, number, stage_time, web_address
from rondel.reports.gate_tables import comparison, verdicts_of_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.gates import RuleResult, Verdict
    from rondel.record import Capsule, StageRecord

_SYNTAX = re.compile(r"[\\`*_<>\[\]#|@!~$&]")
"""What Markdown would read as markup. GitLab notifies people at ``@`` and links ``#`` and ``!``."""

_RULE_MARKS = {"passed": "✅", "failed": "❌", "no champion": "➖"}
_STAGE_MARKS = {
    "ran": "✅",
    "restored": "♻️",
    "cached": "♻️",
    "failed": "❌",
    "skipped": "➖",
    "cancelled": "⏹️",
}


def render_run(capsule: Capsule) -> str:
    """The run, for a note on a merge request or the summary of a job."""
    word = RUN_WORDS.get(capsule.state, capsule.state)
    lines = [f"## `{capsule.pipeline}` {word}", "", cell(headline(capsule)), ""]
    lines += ["| | stage | state | time | metrics |", "|---|---|---|---:|---|"]
    lines += [_stage(record) for record in capsule.stages]
    lines += ["", _facts(capsule), ""]
    verdicts = verdicts_of_run(capsule)
    if verdicts:
        lines.append(render_gates(verdicts, level=3))
    failed = next((record for record in capsule.stages if record.error), None)
    if failed is not None:
        lines += ["<details><summary>Error</summary>", "", fenced(failed.error or ""), "", "</details>", ""]
    return "\n".join(lines)


def render_gates(verdicts: Mapping[str, Verdict], *, level: int = 2) -> str:
    """The verdicts by stage; ``level`` is that of their headings."""
    return "\n".join(_gate(stage, verdict, level) for stage, verdict in verdicts.items())


def render_comparison(verdict: Verdict) -> str:
    """The table of challenger and champion; empty if there are no metrics."""
    head, *rows = comparison(verdict)
    if not rows:
        return ""
    return "\n".join([_row(head), "|---" + "|---:" * (len(head) - 1) + "|", *map(_row, rows), ""])


def cell(text: str) -> str:
    """Text for a cell of a table, in which nothing is markup or mentions a person."""
    return _SYNTAX.sub(r"\\\g<0>", " ".join(text.split()))


def fenced(text: str) -> str:
    """Text as a block of code."""
    return f"```\n{text.replace('```', '~~~')}\n```"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(cell, cells))} |"


def _stage(record: StageRecord) -> str:
    mark = _STAGE_MARKS.get(record.state, "")
    return _row((mark, record.name, record.state, stage_time(record), key_metrics(record)))


def _facts(capsule: Capsule) -> str:
    facts = [f"Run `{capsule.id}`"]
    if capsule.git.commit:
        changes = " with uncommitted changes" if capsule.git.dirty else ""
        facts.append(f"commit `{capsule.git.commit[:12]}`{changes}")
    if capsule.engine:
        facts.append(f"engine {capsule.engine.kind}")
    url = web_address(capsule.mlflow.url) if capsule.mlflow else ""
    if url and not re.match(r"https?://127\.", url):
        facts.append(f"[MLflow]({url})")
    return " · ".join(facts)


def _gate(stage: str, verdict: Verdict, level: int) -> str:
    state = "passed" if verdict.passed else "not passed"
    of = f" of {cell(verdict.model)}" if verdict.model else ""
    champion = verdict.champion()
    lines = [f"{'#' * level} Gate in {cell(stage)}{of}: {state}", ""]
    lines += [f"{champion[:1].upper()}{cell(champion[1:])}.", ""]
    if verdict.results:
        lines += ["| | rule | challenger | bound | |", "|---|---|---:|---:|---|"]
        lines += [_rule(result) for result in verdict.results] + [""]
    table = render_comparison(verdict)
    if table:
        lines += [f"{'#' * (level + 1)} Metrics", "", table]
    return "\n".join(lines)


def _rule(result: RuleResult) -> str:
    mark = _RULE_MARKS[result.outcome if result.passed else "failed"]
    rule = " ".join(result.rule.split()).replace("|", "\\|").replace("`", "'")
    return f"| {mark} | `{rule}` | {number(result.value)} | {number(result.bound)} | {cell(result.reason)} |"
