"""The CI job that this process runs in: its page, branch, merge request, and the person that started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.record import CiJob

AUTHOR = "Rondel"
ADDRESS = "rondel@localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class CiContext:
    """The CI job around this process, as its provider detected it.

    ``url`` is the job's page. ``ref`` is the branch or tag that the job runs for;
    a CI checkout is detached, so git does not know it. ``branch`` is the branch
    that results may be committed to: None for tags and for merge requests of
    forks. ``merge_request`` is a number in the ``project`` (GitLab's ID or path).
    ``fork``: the code comes from a fork, so the job gets no secrets and pushes
    nothing. ``started_by`` is the login of the person who started the job;
    ``author`` is the same person as ``Name <address>``.
    """

    provider: str
    url: str | None = None
    id: str | None = None
    name: str | None = None
    server: str | None = None
    project: str | None = None
    ref: str | None = None
    branch: str | None = None
    default_branch: str | None = None
    merge_request: int | None = None
    fork: bool = False
    started_by: str | None = None
    author: str | None = None

    def recorded(self) -> CiJob:
        """The part of it that a capsule keeps."""
        from rondel.record import CiJob

        return CiJob(provider=self.provider, url=self.url, id=self.id, name=self.name)


def is_yes(value: str | None) -> bool:
    """Whether a variable says yes: any text does that is not a way to write no."""
    return (value or "").strip().lower() not in {"", "0", "false", "no", "off"}


def first(values: Mapping[str, str], *names: str) -> str | None:
    """The first of these variables that is set and not empty."""
    return next((values[name] for name in names if values.get(name)), None)


def number(text: str | None) -> int | None:
    """A merge request's number."""
    return int(text) if text and text.isdigit() else None


def person(name: str | None, address: str | None) -> str | None:
    """``Name <address>``; None if neither is known."""
    return f"{name or AUTHOR} <{address or ADDRESS}>" if name or address else None
