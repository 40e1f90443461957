"""Verdicts as Markdown: for merge requests, job summaries and model cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.gates import RuleResult, Verdict

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
        rows = [f"| {_cell(name)} | {verdict.metrics[name]:.6g} |" for name in names]
        return "\n".join(["| metric | challenger |", "|---|---:|", *rows, ""])
    rows = []
    for name in names:
        value, theirs = verdict.metrics[name], verdict.champion_metrics.get(name)
        shown = ("", "") if theirs is None else (f"{theirs:.6g}", f"{value - theirs:+.4g}")
        rows.append(f"| {_cell(name)} | {value:.6g} | {shown[0]} | {shown[1]} |")
    head = f"| metric | challenger | champion (version {_cell(verdict.champion_version)}) | difference |"
    return "\n".join([head, "|---|---:|---:|---:|", *rows, ""])


def _verdict(stage: str, verdict: Verdict) -> str:
    state = "passed" if verdict.passed else "not passed"
    of = f" of {_cell(verdict.model)}" if verdict.model else ""
    said = verdict.champion()
    champion = f"{said[:1].upper()}{_cell(said[1:])}."
    lines = [f"## Gate in {_cell(stage)}{of}: {state}", "", champion, ""]
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
    return f"| {mark} | `{_cell(result.rule, code=True)}` | {value} | {bound} | {_cell(result.reason)} |"


def _cell(text: str, *, code: bool = False) -> str:
    """Text that stays inside a table's cell and is not read as markup."""
    flat = " ".join(text.split()).replace("|", "\\|")
    if code:
        return flat.replace("`", "'")
    for sign in "\\`*_<>[]#":
        if sign != "\\":
            flat = flat.replace(sign, f"\\{sign}")
    return flat
