"""Approval of a stage: given on the command line or on a terminal, or still missing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rondel.errors import WaitingForApproval
from rondel.record import Approval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def decide(
    stage: str,
    environment: str,
    *,
    approve_by: str | None,
    who: str,
    changes: Sequence[str] = (),
    ask: Callable[[str], str] | None = None,
    retry_command: str = "python ci/main.py",
    approve_command: str = "python ci/main.py --approve-by NAME",
) -> Approval:
    """The approval of a stage. Raises WaitingForApproval if there is none.

    ``approve_by`` is the name given with ``--approve-by``. ``ask`` asks a person
    a question; it is None without a terminal. ``changes`` say what the stage would
    change. The hints show ``retry_command``, which repeats the run, or
    ``approve_command``, which also approves.
    """
    if approve_by is not None and approve_by.strip():
        return Approval(environment=environment, by=approve_by.strip(), how="flag")
    shown = "".join(f"\n  {change}" for change in changes)
    if ask is not None:
        answer = ask(f"Stage {stage} acts on {environment}:{shown}\nApprove as {who}? [y/N] ")
        if answer.strip().lower() in {"y", "yes"}:
            return Approval(environment=environment, by=who, how="terminal")
        raise WaitingForApproval(
            f"stage {stage!r} was not approved for {environment}",
            hint=f"to be asked again: {retry_command}",
        )
    raise WaitingForApproval(
        f"stage {stage!r} waits for approval for {environment}",
        why="\n".join(changes) or None,
        hint=f"approve with: {approve_command}",
    )


def terminal_prompt() -> Callable[[str], str] | None:
    """A function that asks a question on the terminal; None without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()

    return ask
