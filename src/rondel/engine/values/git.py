"""Git repositories and references."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.engine.values.node import Fs
    from rondel.engine.values.objects import Secret, Socket

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VERSION = re.compile(
    r"v(0|[1-9]\d*)(?:\.(0|[1-9]\d*)(?:\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?)?)?",
    re.ASCII,
)


def is_commit(text: str) -> bool:
    """Whether a text is a full commit hash."""
    return _COMMIT.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRepository:
    """A repository: a remote one by its URL, or one in a directory of a file system (``fs``, ``path``).

    ``key`` identifies the address and the credentials, but never contains a secret's text.
    """

    key: str
    url: str = ""
    fs: Fs | None = None
    path: str = "/"
    local: bool = False
    known_hosts: str = ""
    auth_socket: Socket | None = None
    username: str = ""
    token: Secret | None = None
    header: Secret | None = None
    service: object | None = None
    discard_git_dir: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRef:
    """A commit of a repository, and the full name of the reference that led to it, or its hash."""

    repository: GitRepository
    name: str
    sha: str

    @property
    def full_name(self) -> str:
        """The reference's name; empty if the commit was requested by its hash."""
        return "" if is_commit(self.name) else self.name


@dataclass(frozen=True, slots=True)
class Advertised:
    """The output of ``git ls-remote --symref``: references with hashes, and targets of symbolic ones."""

    refs: tuple[tuple[str, str], ...] = ()
    symbolic: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Advertised:
        """Parse the command's output."""
        refs: list[tuple[str, str]] = []
        symbolic: list[tuple[str, str]] = []
        for line in text.splitlines():
            left, tab, name = line.partition("\t")
            if tab and left.startswith("ref: "):
                symbolic.append((name, left.removeprefix("ref: ")))
            elif tab:
                refs.append((name, left))
        return cls(tuple(refs), tuple(symbolic))

    def find(self, target: str) -> tuple[str, str] | None:
        """The full name and commit of a name, as ``git checkout`` would choose; None if there is none.

        A full name wins over a branch, a branch over a tag; an annotated tag means its commit.
        """
        if is_commit(target):
            return target, target
        hashes = dict(self.refs)
        tag = "refs/tags/" + target.removeprefix("refs/tags/")
        candidates = (
            (target, target if target.startswith("refs/") or target == "HEAD" else None),
            ("refs/" + target.removeprefix("refs/"), "refs/" + target.removeprefix("refs/")),
            ("", "refs/heads/" + target.removeprefix("refs/heads/")),
            ("", tag),
        )
        for _, name in candidates:
            if name is not None and name in hashes:
                return dict(self.symbolic).get(name, name), hashes.get(name + "^{}", hashes[name])
        return None

    def short_names(self, prefix: str, patterns: Iterable[str]) -> list[str]:
        """The references below ``refs/heads/`` or ``refs/tags/`` that match any pattern, without that prefix.

        A pattern matches the end of the full name after a slash, as in ``git ls-remote``.
        """
        chosen = [pattern.replace("[^", "[!") for pattern in patterns]
        names = [name for name, _ in self.refs if name.startswith(prefix) and not name.endswith("^{}")]
        matching = [
            name
            for name in names
            if not chosen or any(fnmatch.fnmatchcase("/" + name, "*/" + pattern) for pattern in chosen)
        ]
        return [name.removeprefix(prefix) for name in matching]

    def latest_version(self) -> str | None:
        """The highest tag that is a semantic version with a ``v``; None if there is none."""
        versions = [tag for tag in self.short_names("refs/tags/", ()) if _VERSION.fullmatch(tag)]
        return max(versions, key=_precedence, default=None)


def _precedence(version: str) -> tuple[object, ...]:
    """A sort key that follows the precedence of semantic versions (semver.org, section 11)."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return ()
    numbers = tuple(int(part or 0) for part in match.groups()[:3])
    before = match[4]
    if before is None:
        return (*numbers, 1, ())
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in before.split("."))
    return (*numbers, 0, parts)
