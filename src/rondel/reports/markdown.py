"""Verdicts as Markdown: for merge requests, job summaries and model cards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.gates import RuleResult, Verdict

_SIGNS = re.compile(r"[\\`*_<>\[\]#|@!~$&]")
"""What Markdown reads; ``@`` and what follows is what makes GitLab tell people, or link to something."""

_MARKS = {"passed": "✅", "failed": "❌", "no champion": "➖"}


def render_markdown(verdicts: Mapping[str, Verdict]) -> str:
    """The report for these verdicts, by stage."""
    return "\n".join(_verdict(stage, verdict) for stage, verdict in verdicts.items())


def comparison(verdict: Verdict) -> str:
    """Challenger beside champion, metric by metric; without a champion only the one."""
    names = sorted(verdict.metrics, key=lambda name: ("[" in name, name))
    if not names:
        return ""
    if verdict.champion_version is None:
        rows = [f"| {cell(name)} | {verdict.metrics[name]:.6g} |" for name in names]
        return "\n".join(["| metric | challenger |", "|---|---:|", *rows, ""])
    rows = []
    for name in names:
        value, theirs = verdict.metrics[name], verdict.champion_metrics.get(name)
        shown = ("", "") if theirs is None else (f"{theirs:.6g}", f"{value - theirs:+.4g}")
        rows.append(f"| {cell(name)} | {value:.6g} | {shown[0]} | {shown[1]} |")
    head = f"| metric | challenger | champion (version {cell(verdict.champion_version)}) | difference |"
    return "\n".join([head, "|---|---:|---:|---:|", *rows, ""])


def _verdict(stage: str, verdict: Verdict) -> str:
    state = "passed" if verdict.passed else "not passed"
    of = f" of {cell(verdict.model)}" if verdict.model else ""
    said = verdict.champion()
    champion = f"{said[:1].upper()}{cell(said[1:])}."
    lines = [f"## Gate in {cell(stage)}{of}: {state}", "", champion, ""]
    if verdict.results:
        lines += ["| | rule | challenger | bound | |", "|---|---|---:|---:|---|"]
        lines += [_row(result) for result in verdict.results] + [""]
    table = comparison(verdict)
    if table:
        lines += ["### Metrics", "", table]
    return "\n".join(lines)


def _row(result: RuleResult) -> str:
    mark = _MARKS[result.outcome] if result.passed else _MARKS["failed"]
    value = "" if result.value is None else f"{result.value:.6g}"
    bound = "" if result.bound is None else f"{result.bound:.6g}"
    return f"| {mark} | `{_code(result.rule)}` | {value} | {bound} | {cell(result.reason)} |"


def cell(text: str) -> str:
    """Text that stays inside a table's cell and is not read as markup, nor as somebody's name."""
    return _SIGNS.sub(r"\\\g<0>", " ".join(text.split()))


def _code(text: str) -> str:
    """Text for a table's cell, in a pair of backticks."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
