"""Approval of a stage: asked on a terminal, given on the command line, or waited for."""

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
    again: str = "python ci/main.py",
    approving: str = "python ci/main.py --approve-by NAME",
) -> Approval:
    """The approval for a stage, or WaitingForApproval when nobody gives it.

    ``approve_by`` is the name given with ``--approve-by``; ``ask`` puts a
    question to a person and is None where there is none. ``changes`` say what
    the stage would change; ``again`` is the command that asks for the same run
    once more, ``approving`` the same with an approval, for hints.
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
            hint=f"run it again when it is time: {again}",
        )
    raise WaitingForApproval(
        f"stage {stage!r} waits for approval for {environment}",
        why="\n".join(changes) or None,
        hint=f"approve with: {approving}",
    )


def terminal() -> Callable[[str], str] | None:
    """How to ask the person at the terminal, or None when nobody is there."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()

    return ask
