"""The state of the code, from the git command line; works without git and without a repository."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.git.command import git_output
from rondel.secrets.logins import without_login

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class GitState:
    """What the working tree is: a commit, and what differs from it.

    ``branch`` is None on a detached HEAD; ``diff`` is ``git diff --binary
    HEAD``; ``untracked`` maps files that git neither knows nor ignores to the
    sha256 of their content. Without a repository everything is empty.
    """

    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    diff: str = ""
    remote_url: str | None = None
    shallow: bool = False
    untracked: Mapping[str, str] = field(default_factory=dict)


def read_git(root: Path) -> GitState:
    """The state of the repository that ``root`` lies in. Never raises for lack of one."""
    status = git_output(
        root,
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=all",
        "--",
        ".",
        ":(exclude).rondel",
    )
    if status is None:
        return GitState()
    commit = branch = None
    changed = False
    untracked: list[str] = []
    fields = iter(status.split("\0"))
    for entry in fields:
        if entry.startswith("# branch.oid "):
            commit = entry.removeprefix("# branch.oid ")
        elif entry.startswith("# branch.head "):
            branch = entry.removeprefix("# branch.head ")
        elif entry.startswith("? "):
            untracked.append(entry.removeprefix("? "))
        elif entry.startswith("2 "):
            changed = True
            next(fields, None)  # a rename's former path is a field of its own
        elif entry and not entry.startswith("#"):
            changed = True
    commit = None if commit == "(initial)" else commit
    branch = None if branch == "(detached)" else branch
    top = Path((git_output(root, "rev-parse", "--show-toplevel") or str(root)).strip()) if untracked else root
    return GitState(
        commit=commit,
        branch=branch,
        dirty=changed or bool(untracked),
        diff=_diff(root, commit) if changed else "",
        remote_url=_remote(root),
        shallow=_shallow(root),
        untracked={
            _shown(top, root, name): digest
            for name in untracked
            if (digest := _sha256(top / name)) is not None
        },
    )


def folder_of(root: Path) -> str:
    """The project's folder in its repository, as git shows paths; empty at the top, and without one."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)
    return "" if top == root else root.relative_to(top).as_posix()


def _diff(root: Path, commit: str | None) -> str:
    base = (commit,) if commit else ("4b825dc642cb6eb9a060e54bf8d69288fbee4904",)  # git's empty tree
    return git_output(root, "diff", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", *base) or ""


def _remote(root: Path) -> str | None:
    url = git_output(root, "config", "--get", "remote.origin.url")
    return without_login(url.strip()) if url else None


def _shallow(root: Path) -> bool:
    return (git_output(root, "rev-parse", "--is-shallow-repository") or "").strip() == "true"


def _shown(top: Path, root: Path, name: str) -> str:
    try:
        return (top / name).relative_to(root.resolve()).as_posix()
    except ValueError:
        return name


def _sha256(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()
