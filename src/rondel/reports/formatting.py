"""The words for states, times and metrics that all reports share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rondel.record import Capsule, StageRecord

STAGE_MARKS = {
    "running": "▸",
    "ran": "✓",
    "restored": "✓",
    "cached": "=",
    "failed": "✗",
    "skipped": "-",
    "cancelled": "-",
}

RUN_WORDS = {
    "succeeded": "succeeded",
    "failed": "failed",
    "waiting": "is waiting for approval",
    "interrupted": "was interrupted",
}

TIMED_STATES = frozenset({"ran", "restored", "failed", "cancelled"})
"""The states of stages that did some work, so that their time is worth showing."""

_KEY_METRICS = 3


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


def stage_time(record: StageRecord) -> str:
    """How long the stage took; empty if it did no work."""
    return duration(record.seconds) if record.state in TIMED_STATES else ""


def number(value: float | None) -> str:
    """A value or a bound of a gate in six significant digits; empty for None."""
    return "" if value is None else f"{value:.6g}"


def metric(value: float) -> str:
    """A metric in four significant digits; a large number with all digits before the point."""
    size = abs(value)
    return f"{value:.0f}" if 1e4 <= size < 1e9 else f"{value:.4g}"


def key_metrics(record: StageRecord) -> str:
    """The few metrics to show beside a stage: first those that a gate checks."""
    judged = [str(rule.get("metric")) for verdict in record.verdicts for rule in verdict.rules]
    names = list(dict.fromkeys([name for name in judged if name in record.metrics] + list(record.metrics)))
    text = " ".join(f"{name}={metric(record.metrics[name])}" for name in names[:_KEY_METRICS])
    return f"{text} …" if len(names) > _KEY_METRICS else text


def first_line(text: str | None) -> str:
    """The first line of a text; empty if there is none."""
    return next(iter((text or "").splitlines()), "")


def web_address(url: str | None) -> str:
    """The address if a report may link to it; ``javascript:`` and the like run in the reader's browser."""
    return url if url and re.match(r"https?://", url) else ""


def headline(capsule: Capsule) -> str:
    """The run in one line: its outcome, and the gate or the stage that decided it."""
    if capsule.state == "waiting":
        waiting = [record for record in capsule.stages if record.awaits_approval]
        return "; ".join(f"{record.name}: {record.reason}" for record in waiting) or "waiting for approval"
    failed = next((record for record in capsule.stages if record.state == "failed"), None)
    if failed is not None and any(not verdict.passed for verdict in failed.verdicts):
        return f"gate of {failed.name} not passed: {_rules(failed)}"
    if failed is not None:
        return f"{failed.name} failed: {first_line(failed.error)}"
    if capsule.state != "succeeded":
        return f"{capsule.state}: {first_line(capsule.error)}"
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
