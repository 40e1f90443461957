"""All errors that Rondel raises on purpose. They share a base class; each class has an exit code.

An error says what happened, why, and what to do next. Rondel translates foreign
exceptions where it calls the foreign code. The command line prints
:meth:`RondelError.render` and exits with :attr:`RondelError.exit_code`;
``docs/reference/exit-codes.md`` lists the codes.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class RondelError(Exception):
    """The base class.

    ``what`` is one sentence that says what happened. ``why`` and ``hint`` (what
    to do next) are optional. ``place`` is the file and line, the flag or the
    field that the error is about. ``cause`` is the line that tells most: the last
    one that a failed command printed, else ``what``.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        why: str | None = None,
        hint: str | None = None,
        place: str | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.place = place
        self.cause = cause or what

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """The message for people: place and ``what``, then ``why``, then the hint."""
        lines = [f"{self.place}: {self.what}" if self.place else self.what]
        lines += [f"  {line}" for line in (self.why or "").splitlines()]
        if self.hint:
            lines.append(f"  → {self.hint}")
        return "\n".join(lines)


class StageFailed(RondelError):
    """A stage's command failed."""

    exit_code = 10


class GateFailed(RondelError):
    """At least one rule of a gate does not hold."""

    exit_code = 11


class WaitingForApproval(RondelError):
    """A stage needs approval, and there is no terminal to ask."""

    exit_code = 12


class ConfigurationError(RondelError):
    """A pipeline, flag, option or file is wrong; nothing has started."""

    exit_code = 20


class EngineUnavailable(RondelError):
    """No engine can run here, or the requested one is not reachable."""

    exit_code = 21


class TrackingUnavailable(RondelError):
    """The MLflow server does not answer, or refuses the credentials."""

    exit_code = 22


class DataError(RondelError):
    """Data cannot be fetched, verified, pushed or restored."""

    exit_code = 23


class RecordError(RondelError):
    """A capsule is missing, damaged or unsafe, or this Rondel cannot read its version."""

    exit_code = 24


class InputsUndeclared(RondelError):
    """A stage reads files that are not among its dependencies."""

    exit_code = 26


class InputsDiffer(RondelError):
    """Two runs, or a run and its reproduction, differ in an input."""

    exit_code = 30


class ResultsDiffer(RondelError):
    """Two runs, or a run and its reproduction, have equal inputs but different results."""

    exit_code = 31


class Interrupted(RondelError):
    """A signal interrupted the run; its capsule records how far it got."""

    exit_code = 130


class EngineError(RondelError):
    """An error of the embedded engine, sent to its client as a GraphQL error."""

    exit_code = 25


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate closest to ``word``, or None if none is close."""
    found = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return found[0] if found else None


MOST_KNOWN = 30
"""The most names that a hint lists."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A hint for an unknown name: the closest known name, or else all known names."""
    known = sorted(set(candidates))
    match = nearest(word, known)
    if match:
        return f"did you mean {match!r}?"
    more = f" and {len(known) - MOST_KNOWN} more" if len(known) > MOST_KNOWN else ""
    return f"known: {', '.join(known[:MOST_KNOWN])}{more}" if known else "there are none"


def command_and_output(command: str, lines: Iterable[str]) -> str:
    """The part of an error's ``why`` that shows a command and the end of its output."""
    return "\n".join([f"command: {command}", *(f"│ {line}" for line in lines)])


def last_line(lines: Sequence[str]) -> str | None:
    """The last line that is not blank; None if there is none."""
    return next((line.strip() for line in reversed(lines) if line.strip()), None)
