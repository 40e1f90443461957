"""The sources of imported data, and hints for data that is missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rondel.data.model import ImportSource, overlap
from rondel.secrets.logins import without_login

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.data.model import DvcProject, TrackedFile

_QUERY = re.compile(r"\?.*$", re.DOTALL)
_FROM_ANOTHER = "if another clone has it, both need a shared remote: `dvc remote add --default NAME URL`"
_NO_REMOTE = "no remote is defined: `dvc remote add --default NAME URL`, then"


def import_source_of(document: Mapping[str, Any]) -> ImportSource | None:
    """The source in a ``.dvc`` file; None for data that was added here."""
    deps = document.get("deps")
    first = deps[0] if isinstance(deps, list) and deps else None
    if not isinstance(first, dict):
        return None
    path = str(first["path"]) if first.get("path") else None
    repo, database = first.get("repo"), first.get("db")
    if isinstance(repo, dict):
        rev = repo.get("rev") or repo.get("rev_lock")
        return ImportSource(
            kind="git", address=_shown(str(repo.get("url"))), path=path, rev=str(rev) if rev else None
        )
    if isinstance(database, dict):
        name = database.get("connection") or database.get("profile")
        return ImportSource(kind="db", address=str(name or "a database"))
    return ImportSource(kind="url", address=_shown(path)) if path else None


def _shown(url: str) -> str:
    """An address without user, password and query (signed URLs have their signature there)."""
    return _QUERY.sub("", without_login(url)) if "://" in url else url


def describe_source(source: ImportSource) -> str:
    """Describe a source for people."""
    if source.kind == "git":
        rev = f" at {source.rev[:12]}" if source.rev else ""
        return f"{source.path or 'a folder'} of {source.address}{rev}"
    return f"the database {source.address}" if source.kind == "db" else source.address


def hint_for_missing(
    project: DvcProject, paths: Iterable[str], *, remote_defined: bool, own_folder: bool = False
) -> str | None:
    """How to get ``paths`` that could not be fetched; None if no source has them.

    That is the case for outputs of stages, which run again, and for files in git.
    ``remote_defined``: the DVC configuration has a default remote. ``own_folder``: that is
    a folder in this clone, which other clones don't have.
    """
    wanted = list(paths)
    lacking = [each for each in project.tracked.values() if any(overlap(path, each.path) for path in wanted)]
    hints = [hint for each in lacking if (hint := _source_hint(each))]
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


def _only_at_source(tracked: TrackedFile) -> bool:
    """Whether `dvc push` skips it: data imported from another repository stays there."""
    return tracked.source is not None and tracked.source.kind == "git"


def _source_hint(tracked: TrackedFile) -> str | None:
    """Where to get the data of one ``.dvc`` file."""
    source = tracked.source
    if source is not None and source.kind == "git":
        return (
            f"{tracked.path} is imported from {describe_source(source)}, and `dvc push` does not copy it: "
            f"make sure that this is reachable, or get its current version with `dvc update {tracked.file}`"
        )
    if source is not None:
        return (
            f"{tracked.path} was imported from {describe_source(source)}: "
            f"`dvc update {tracked.file}` gets the current version"
        )
    if tracked.push:
        return None
    return f"only the clone that added {tracked.path} has it: {tracked.file} has `push: false`"
