"""The log of a GitLab job, with each stage's output in a collapsible section.

Format: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections.
Sections can't interleave, but stages do, so a stage's whole section is printed
when the stage ends.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from rondel.reports.console import PlainConsole, state_line

if TYPE_CHECKING:
    from rondel.record import StageRecord
    from rondel.settings import Settings

SHOWN_LINES = 400
"""How many of the last lines of a stage's output its section has. The stage's log has all lines."""

CLEAR = "\x1b[0K"
_ENDED = frozenset({"ran", "restored", "failed", "cancelled"})


def section(name: str, title: str, lines: list[str], began: float, ended: float, *, folded: bool) -> str:
    """A section of GitLab's job log; times are seconds since the epoch.

    A section never ends before it begins, even if the clock is set back.
    """
    key = re.sub(r"[^a-z0-9_.-]+", "_", name.lower())
    state = "[collapsed=true]" if folded else ""
    body = "".join(f"{line}\n" for line in lines)
    return (
        f"{CLEAR}section_start:{int(began)}:{key}{state}\r{CLEAR}{title}\n"
        f"{body}{CLEAR}section_end:{int(max(began, ended))}:{key}\r{CLEAR}"
    )


@dataclass
class _Section:
    began: float
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=SHOWN_LINES))
    dropped: int = 0

    def add(self, line: str) -> None:
        self.dropped += len(self.lines) == self.lines.maxlen
        self.lines.append(line)


class GitLabConsole(PlainConsole):
    """Prints a line when a stage begins, and its output as a section when it ends."""

    def __init__(
        self, out: TextIO | None = None, *, verbose: int = 0, quiet: bool = False, colour: bool = True
    ) -> None:
        super().__init__(out, verbose=verbose, quiet=quiet, colour=colour)
        self._sections: dict[str, _Section] = {}

    def stage_changed(self, record: StageRecord) -> None:
        """Begin or end the stage's section; print a line for other changes."""
        before = self._states.get(record.name)
        if record.state == "running" and before != "running":
            self._sections[record.name] = _Section(time.time())
        if record.state in _ENDED and before != record.state and record.name in self._sections:
            self._states[record.name] = record.state
            self._end(record, self._sections.pop(record.name))
            return
        super().stage_changed(record)

    def step(self, stage: str, text: str) -> None:
        """Keep the step for the section."""
        self.line(stage, f"▸ {text}")

    def line(self, stage: str, text: str) -> None:
        """Keep the line for the section."""
        found = self._sections.get(stage)
        if found is not None:
            found.add(text)

    def _end(self, record: StageRecord, found: _Section) -> None:
        title = state_line(record, colour=self.colour)
        if self.quiet and record.state in {"ran", "restored"}:
            return
        lines = list(found.lines)
        if found.dropped:
            lines.insert(0, f"… {found.dropped} lines before these are in {record.log}")
        folded = record.state in {"ran", "restored"}
        text = section(f"rondel_{record.name}", title, lines, found.began, time.time(), folded=folded)
        self.write(text)


def gitlab_console(settings: Settings) -> GitLabConsole:
    """The console of a GitLab job."""
    return GitLabConsole(verbose=settings.verbose, quiet=settings.quiet)
