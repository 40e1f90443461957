"""What ``rondel doctor`` finds, and how it prints that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKS = {"good": "✓", "note": "·", "bad": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    level: Literal["good", "note", "bad"]
    subject: str
    text: str


def show_findings(findings: Sequence[Finding]) -> None:
    """Print a table."""
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        first, *others = finding.text.splitlines() or [""]
        print(f"{MARKS[finding.level]} {finding.subject.ljust(width)}  {first}".rstrip())
        for line in others:
            print(f"{' ' * (width + 4)}{line}")
