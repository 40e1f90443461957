"""Compares the outcome of a reproduction with that of the run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.parity import compare_runs
from rondel.parity.compare import DONE

if TYPE_CHECKING:
    from rondel.parity import Parity
    from rondel.record import Capsule, StageRecord

_CHANGING = (
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}"), "<run>"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "<hash>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"(?<![\w./])/(?:[\w.+@-]+/)+"), "<path>/"),
    (re.compile(r"0x[0-9a-f]+"), "<address>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:m?s|seconds|min)\b"), "<duration>"),
    (re.compile(r":\d{4,5}\b"), ":<port>"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeComparison:
    """The outcomes of the stage in both runs. ``parity`` compares what the outcomes depend on."""

    stage: str
    same: bool
    before: str
    after: str
    parity: Parity
    differs: tuple[str, ...] = ()


def compare_outcomes(original: Capsule, again: Capsule, stage: str) -> OutcomeComparison:
    """Compare the stage's outcomes: outputs and metrics, or exit code and error."""
    one, other = original.stage(stage), again.stage(stage)
    parity = compare_runs(original, again, stages=[stage])
    differs: list[str] = []
    if (one.state in DONE) != (other.state in DONE):
        differs.append(f"it {outcome(one)}, and now it {outcome(other)}")
    elif one.state in DONE:
        differs += [
            f"{each.part} {each.entry}: {each.a} before, {each.b} now"
            for each in parity.results
            if each.part in {"output", "metric"}
        ]
    elif one.exit_code != other.exit_code:
        differs.append(f"exit code {one.exit_code} before, {other.exit_code} now")
    elif None not in (before := cause_of(one), after := cause_of(other)) and before != after:
        differs.append(f"the error was {before!r} and is {after!r}")
    return OutcomeComparison(
        stage=stage,
        same=not differs,
        before=outcome(one),
        after=outcome(other),
        parity=parity,
        differs=tuple(differs),
    )


def outcome(record: StageRecord) -> str:
    """``failed with exit code 7``, ``failed at its gate``, ``succeeded``, ``was cancelled``."""
    if record.state in DONE:
        return "succeeded"
    if record.state == "failed":
        if not all(verdict.passed for verdict in record.verdicts):
            return "failed at its gate"
        return f"failed with exit code {record.exit_code}" if record.exit_code else "failed"
    return {"cancelled": "was cancelled", "skipped": "was skipped"}.get(record.state, f"was {record.state}")


def cause_of(record: StageRecord) -> str | None:
    """The record's cause without parts that change from run to run; None if it is not known."""
    text = record.cause
    if text is None:
        return None
    for pattern, name in _CHANGING:
        text = pattern.sub(name, text)
    return text
