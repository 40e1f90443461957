"""Every error that Rondel raises on purpose: one base, one exit code a class.

An error says what happened, why, and what to do next. Foreign exceptions are
translated where they enter; the command line prints :meth:`RondelError.render`
and exits with :attr:`RondelError.exit_code`. The codes are listed in
``docs/reference/exit-codes.md``.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class RondelError(Exception):
    """The base of all errors that Rondel raises on purpose.

    ``what`` happened is one sentence; ``why`` and ``hint`` (what to do next)
    are optional; ``place`` names the file and line, flag or field it is about.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, why: str | None = None, hint: str | None = None, place: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.place = place

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """The message as people read it: place and what, then why, then what to do."""
        lines = [f"{self.place}: {self.what}" if self.place else self.what]
        lines += [f"  {line}" for line in (self.why or "").splitlines()]
        if self.hint:
            lines.append(f"  → {self.hint}")
        return "\n".join(lines)


class StageFailed(RondelError):
    """A stage's command ended with a failure."""

    exit_code = 10


class GateFailed(RondelError):
    """A gate's rules were evaluated and at least one does not hold."""

    exit_code = 11


class WaitingForApproval(RondelError):
    """A stage needs somebody's approval, and nobody is there to give it."""

    exit_code = 12


class ConfigurationError(RondelError):
    """A pipeline, flag, option or file is wrong; nothing was started."""

    exit_code = 20


class EngineUnavailable(RondelError):
    """No engine can run here, or the one that was asked for is out of reach."""

    exit_code = 21


class TrackingUnavailable(RondelError):
    """The MLflow server does not answer, or refuses the credentials."""

    exit_code = 22


class DataError(RondelError):
    """Data cannot be fetched, verified, pushed or brought back."""

    exit_code = 23


class RecordError(RondelError):
    """A capsule is missing, damaged, hostile or of a version that cannot be read."""

    exit_code = 24


class InputsDiffer(RondelError):
    """Two runs, or a run and its reproduction, differ in an input."""

    exit_code = 30


class ResultsDiffer(RondelError):
    """Two runs, or a run and its reproduction, have equal inputs and different results."""

    exit_code = 31


class Interrupted(RondelError):
    """The run was interrupted by a signal; its capsule says how far it came."""

    exit_code = 130


class EngineError(RondelError):
    """An error of the embedded engine, answered to its client as a GraphQL error."""

    exit_code = 25


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``word``, or None when none is close."""
    found = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return found[0] if found else None


MOST_KNOWN = 30
"""Names that a hint lists; nobody reads more."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest match, or what there is."""
    known = sorted(set(candidates))
    match = nearest(word, known)
    if match:
        return f"did you mean {match!r}?"
    more = f" and {len(known) - MOST_KNOWN} more" if len(known) > MOST_KNOWN else ""
    return f"known: {', '.join(known[:MOST_KNOWN])}{more}" if known else "there are none"


class InputsUndeclared(RondelError):
    """A stage reads files that are not among its dependencies."""

    exit_code = 26
