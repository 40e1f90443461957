"""Where a project's data comes from, and what helps when it is missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rondel.data.model import Source, overlap
from rondel.secrets.logins import without_login

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.data.model import DvcProject, Tracked

_QUERY = re.compile(r"\?.*$", re.DOTALL)
_FROM_ANOTHER = "from another one it takes a remote that both reach: `dvc remote add --default NAME URL`"
_NO_REMOTE = "no remote is defined: `dvc remote add --default NAME URL`, then"


def source_of(document: Mapping[str, Any]) -> Source | None:
    """The source that a ``.dvc`` file names; None for data that was added."""
    deps = document.get("deps")
    first = deps[0] if isinstance(deps, list) and deps else None
    if not isinstance(first, dict):
        return None
    path = str(first["path"]) if first.get("path") else None
    repo, database = first.get("repo"), first.get("db")
    if isinstance(repo, dict):
        rev = repo.get("rev") or repo.get("rev_lock")
        return Source(
            kind="git", address=_shown(str(repo.get("url"))), path=path, rev=str(rev) if rev else None
        )
    if isinstance(database, dict):
        name = database.get("connection") or database.get("profile")
        return Source(kind="db", address=str(name or "a database"))
    return Source(kind="url", address=_shown(path)) if path else None


def _shown(url: str) -> str:
    """An address without user, password and query: signed URLs keep their signature there."""
    return _QUERY.sub("", without_login(url)) if "://" in url else url


def describe_source(source: Source) -> str:
    """A source in words."""
    if source.kind == "git":
        rev = f" at {source.rev[:12]}" if source.rev else ""
        return f"{source.path or 'a folder'} of {source.address}{rev}"
    return f"the database {source.address}" if source.kind == "db" else source.address


def hint_for_missing(
    project: DvcProject, paths: Iterable[str], *, remote_defined: bool, own_folder: bool = False
) -> str | None:
    """What to do about ``paths`` that could not be fetched; None where no source holds them.

    That is so for outputs of stages, which are made again, and for files of
    git. ``remote_defined``: whether the DVC configuration has a default remote,
    ``own_folder``: whether that is a folder of this clone, which others don't have.
    """
    wanted = list(paths)
    lacking = [each for each in project.tracked.values() if any(overlap(path, each.path) for path in wanted)]
    hints = [hint for each in lacking if (hint := _of_its_own(each))]
    pushed = [each for each in lacking if each.push and not _only_at_source(each)]
    if pushed:
        push = f"`dvc push {' '.join(each.path for each in pushed)}`"
        if all(each.remote for each in pushed) or (remote_defined and not own_folder):
            hints.append(f"{push} where the data is")
        elif remote_defined:
            hints.append(f"{push} if this clone has the data; {_FROM_ANOTHER}")
        else:
            hints.append(f"{_NO_REMOTE} {push} where the data is")
    return "\n".join(hints) or None


def _only_at_source(tracked: Tracked) -> bool:
    """Whether `dvc push` leaves it out: what comes of another repository stays there alone."""
    return tracked.source is not None and tracked.source.kind == "git"


def _of_its_own(tracked: Tracked) -> str | None:
    """What one ``.dvc`` file says of where its data is to be had."""
    source = tracked.source
    if source is not None and source.kind == "git":
        return (
            f"{tracked.path} is imported from {describe_source(source)}, and `dvc push` leaves it there: "
            f"see that this is within reach; `dvc update {tracked.file}` takes what it holds today"
        )
    if source is not None:
        return (
            f"{tracked.path} was imported from {describe_source(source)}: "
            f"`dvc update {tracked.file}` takes what is there today"
        )
    if tracked.push:
        return None
    return f"{tracked.path} is only where it was added: {tracked.file} says push: false"
