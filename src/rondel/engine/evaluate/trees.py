"""Digests of trees, and differences between them."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rondel.engine.store import TreeEntry, View


def file_digest(view: View, entry: TreeEntry, *, metadata: bool = True) -> str:
    """A file's digest, ``sha256:<hex>``, of its content and, unless left out, its mode and owner."""
    digest = hashlib.sha256()
    if metadata:
        digest.update(f"file {stat.S_IMODE(entry.mode):o} {entry.uid} {entry.gid}\n".encode())
    with entry.real.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def tree_digest(view: View, path: str) -> str:
    """A directory's digest, ``sha256:<hex>``: names, modes, owners, links and contents, no times.

    The directory's own mode and owner count, its name does not.
    """
    top = view.resolve(path)
    digest = hashlib.sha256(f"dir {_nature(top)}\n".encode())
    cut = len(top.path.rstrip("/")) + 1
    for entry in view.walk(top.path):
        text = f"{_nature(entry)} {entry.path[cut:]}\0{entry.link or ''}\0"
        digest.update(text.encode("utf-8", "surrogateescape"))
        if entry.is_file:
            digest.update(file_digest(view, entry, metadata=False).encode())
        digest.update(b"\n")
    return f"sha256:{digest.hexdigest()}"


def _nature(entry: TreeEntry) -> str:
    """The kind, mode and owner of an entry."""
    return f"{stat.S_IFMT(entry.mode):o} {stat.S_IMODE(entry.mode):o} {entry.uid} {entry.gid}"


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences between two trees as sorted relative paths; directories end in a slash.

    ``modified`` follows git: of the mode, only the executable bit counts. ``altered`` are all
    paths in both trees that differ in any way. ``removed`` omits the content of removed
    directories; ``vanished`` includes it.
    """

    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.modified or self.removed)


def changes_between(before: View, old: str, after: View, new: str) -> Changes:
    """What was added, modified and removed from one directory to another."""
    first, second = _listing(before, old), _listing(after, new)
    added = sorted(name for name in second if name not in first)
    gone = sorted(name for name in first if name not in second)
    both = [(name, first[name], entry) for name, entry in sorted(second.items()) if name in first]
    modified = tuple(name for name, a, b in both if not name.endswith("/") and not _same(a, b))
    known = set(modified)
    altered = tuple(name for name, a, b in both if name in known or _metadata(a) != _metadata(b))
    return Changes(tuple(added), modified, tuple(sorted(_outermost(gone))), altered, tuple(gone))


def _metadata(entry: TreeEntry) -> tuple[int, int, int]:
    return entry.mode, entry.uid, entry.gid


def _listing(view: View, path: str) -> dict[str, TreeEntry]:
    top = view.resolve(path).path
    cut = len(top.rstrip("/")) + 1
    return {entry.path[cut:] + ("/" if entry.is_dir else ""): entry for entry in view.walk(top)}


def _outermost(names: list[str]) -> list[str]:
    """The names without those inside of a directory that is also among them."""
    directories = {name for name in names if name.endswith("/")}
    return [
        name
        for name in names
        if not any(name != d and name.startswith(d) for d in _parents(name) if d in directories)
    ]


def _parents(name: str) -> list[str]:
    parts = name.rstrip("/").split("/")[:-1]
    return ["/".join(parts[: i + 1]) + "/" for i in range(len(parts))]


def _git_mode(entry: TreeEntry) -> tuple[int, bool]:
    """The part of a file's mode that git records."""
    return stat.S_IFMT(entry.mode), entry.is_file and bool(entry.mode & 0o111)


def _same(old: TreeEntry, new: TreeEntry) -> bool:
    if old.real == new.real:
        return True
    if (_git_mode(old), old.size, old.link) != (_git_mode(new), new.size, new.link):
        return False
    if not old.is_file:
        return True
    with old.real.open("rb") as a, new.real.open("rb") as b:
        while True:
            left, right = a.read(1 << 20), b.read(1 << 20)
            if left != right:
                return False
            if not left:
                return True
