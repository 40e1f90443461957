"""What Rondel knows about a CI system. A system lacks whatever is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rondel.ci.model import CiContext
    from rondel.ci.wrappers.wrapper import Wrapper
    from rondel.record import RunFolder
    from rondel.reports.console import PlainConsole
    from rondel.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Notes on merge requests.

    ``tokens`` are the variables with a token that may write notes, in order of
    preference. ``limit`` is the longest note in characters. ``write`` takes the
    job, the token, the note's first line and its text. It rewrites the note that
    begins with that line, or adds one, and returns what it did in words. It may
    raise anything.
    """

    tokens: tuple[str, ...]
    limit: int
    write: Callable[[CiContext, str, str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitPush:
    """How ``--commit`` pushes.

    ``url`` gives the address to push to with the team's own token, if the
    checkout's will not do. ``options`` gives the push options that open a merge
    request, from its target branch and title. ``without_token`` warns a job that
    has no such token.
    """

    url: Callable[[Mapping[str, str]], str | None]
    options: Callable[[str, str], tuple[str, ...]]
    without_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapsuleSource:
    """Where ``rondel reproduce`` gets a job's capsule.

    ``page`` is a regular expression for the path of a job's page. ``fetch``
    takes the page's address, the environment with the login, and the folder that
    gets the capsule.
    """

    page: str
    fetch: Callable[[str, Mapping[str, str], Path], RunFolder]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One CI system.

    ``name`` is what commands and records call it, ``title`` what people do.
    ``detect`` returns the job of an environment, or None outside of this system.
    ``artifact`` returns the address of a file that a job keeps, by its path in
    the repository. ``tokens`` are variables that let a job write to the system.
    """

    name: str
    title: str
    detect: Callable[[Mapping[str, str]], CiContext | None]
    wrapper: Wrapper | None = None
    console: Callable[[Settings], PlainConsole] | None = None
    artifact: Callable[[CiContext, str], str | None] | None = None
    notes: Notes | None = None
    push: CommitPush | None = None
    capsules: CapsuleSource | None = None
    tokens: tuple[str, ...] = ()
