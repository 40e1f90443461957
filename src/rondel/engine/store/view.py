"""The merged, read-only view of a snapshot, without mounting it.

It reads layers as the kernel's overlayfs does: a character device 0:0 hides
what lies below (whiteout), the attribute ``user.overlay.opaque`` on a directory
hides all that lower layers have in it, and anything but a directory ends the
merging of directories of that name.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rondel.engine.store.errors import PathError
from rondel.engine.store.model import TreeEntry
from rondel.engine.store.paths import descend, join

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OPAQUE = "user.overlay.opaque"


def is_whiteout(status: os.stat_result) -> bool:
    """Whether a file of a layer hides the entries below it and shows none itself."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: str) -> bool:
    """Whether a directory of a layer hides those below it."""
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Lower:
    """One layer: its directory, and the host directories that replace its own at some paths (grafts)."""

    root: str
    grafts: Mapping[str, str] = field(default_factory=dict)


def entry_of(path: str, real: str, status: os.stat_result, link: str | None = None) -> TreeEntry:
    """The entry for a file with that ``lstat``; reads the target of a link if it is not given."""
    if link is None and stat.S_ISLNK(status.st_mode):
        link = os.readlink(real)
    return TreeEntry(
        path=path,
        file=real,
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        link=link,
    )


class ViewNode:
    """A node of a view. ``stack`` holds the directories merged here, top to bottom, with their layers."""

    __slots__ = ("_lowers", "entry", "stack")

    def __init__(
        self, lowers: Sequence[Lower], entry: TreeEntry, stack: Sequence[tuple[int, str]] = ()
    ) -> None:
        self._lowers = lowers
        self.entry = entry
        self.stack = stack

    def child(self, name: str) -> ViewNode | None:
        """The child of that name, or None."""
        return self.child_below(name, -1)

    def child_below(self, name: str, layer: int) -> ViewNode | None:
        """The child as visible in the layers other than number ``layer``."""
        path = join(self.entry.path, name)
        top: TreeEntry | None = None
        stack: list[tuple[int, str]] = []
        for index, folder in self.stack:
            if index == layer:
                continue
            grafts = self._lowers[index].grafts
            graft = grafts.get(path) if grafts else None
            real = graft or f"{folder}/{name}"
            try:
                status = os.lstat(real)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if is_whiteout(status):
                break
            if not stat.S_ISDIR(status.st_mode):
                if top is None:
                    top = entry_of(path, real, status)
                break
            if top is None:
                top = entry_of(path, real, status)
            stack.append((index, real))
            if graft is None and is_opaque(real):
                break
        return None if top is None else ViewNode(self._lowers, top, stack)

    def names(self) -> list[str]:
        """The names of a directory's children, sorted."""
        seen: dict[str, bool] = {}
        for _, folder in self.stack:
            with os.scandir(folder) as found:
                for item in found:
                    if item.name not in seen:
                        hidden = _maybe_device(item) and is_whiteout(item.stat(follow_symlinks=False))
                        seen[item.name] = not hidden
        return sorted(name for name, shown in seen.items() if shown)

    def children(self) -> list[ViewNode]:
        """A directory's children, sorted by name."""
        if len(self.stack) == 1 and not self._lowers[self.stack[0][0]].grafts:
            return self._plain_children()
        found = (self.child(name) for name in self.names())
        return [node for node in found if node is not None]

    def _plain_children(self) -> list[ViewNode]:
        """The children of a directory that only one layer has: one ``stat`` each, and no more."""
        index, folder = self.stack[0]
        children = []
        with os.scandir(folder) as found:
            for item in found:
                status = item.stat(follow_symlinks=False)
                if is_whiteout(status):
                    continue
                stack = [(index, item.path)] if stat.S_ISDIR(status.st_mode) else ()
                entry = entry_of(join(self.entry.path, item.name), item.path, status)
                children.append(ViewNode(self._lowers, entry, stack))
        children.sort(key=lambda node: node.entry.path)
        return children


def _maybe_device(item: os.DirEntry[str]) -> bool:
    """Whether a directory entry is neither file, directory nor link; costs no system call."""
    return not (
        item.is_symlink() or item.is_file(follow_symlinks=False) or item.is_dir(follow_symlinks=False)
    )


class View:
    """A snapshot's merged tree, read only. Symbolic links never lead out of it."""

    def __init__(self, lowers: Sequence[Lower], *, changing: bool = False) -> None:
        """``lowers`` from bottom to top; ``changing`` if one of them is still being written."""
        self.lowers = tuple(lowers)
        self._root = None if changing else self._look_at_root()

    @property
    def root(self) -> ViewNode:
        """The root directory."""
        return self._root or self._look_at_root()

    def _look_at_root(self) -> ViewNode:
        stack: list[tuple[int, str]] = []
        for index in range(len(self.lowers) - 1, -1, -1):
            real = self.lowers[index].root
            stack.append((index, real))
            if is_opaque(real):
                break
        if not stack:
            return ViewNode((), TreeEntry("/", "/nonexistent", stat.S_IFDIR | 0o755, 0, 0, 0, 0))
        return ViewNode(self.lowers, entry_of("/", stack[0][1], os.lstat(stack[0][1])), stack)

    def node(self, path: str, *, follow: bool = True) -> ViewNode:
        """The node at a path; PathError with Go's message if it does not exist."""
        found, missing = descend(self.root, path, follow=follow)
        if missing:
            raise PathError(errno.ENOENT, path)
        return found

    def lookup(self, path: str, *, follow: bool = True) -> TreeEntry | None:
        """The entry at a path, or None; ``follow`` concerns the last part only."""
        try:
            return self.node(path, follow=follow).entry
        except PathError:
            return None

    def find(self, path: str, *, follow: bool = True) -> TreeEntry | None:
        """The entry at a path, or None; PathError if the way to it leads through a file or in circles."""
        try:
            return self.node(path, follow=follow).entry
        except PathError as error:
            if error.code == errno.ENOENT:
                return None
            raise

    def resolve(self, path: str, *, follow: bool = True) -> TreeEntry:
        """The entry at a path; PathError with Go's message if it does not exist."""
        return self.node(path, follow=follow).entry

    def _directory(self, path: str) -> ViewNode:
        node = self.node(path)
        if not node.entry.is_dir:
            raise PathError(errno.ENOTDIR, path)
        return node

    def scandir(self, path: str = "/") -> list[TreeEntry]:
        """A directory's entries, sorted by name; PathError if it is not a directory."""
        return [child.entry for child in self._directory(path).children()]

    def walk(self, path: str = "/") -> Iterator[TreeEntry]:
        """All entries below a directory, parents first, sorted, without following links."""
        waiting = self._directory(path).children()[::-1]
        while waiting:
            node = waiting.pop()
            yield node.entry
            if node.entry.is_dir:
                waiting.extend(reversed(node.children()))

    def open(self, path: str) -> BinaryIO:
        """A regular file's content; PathError if it is not a regular file."""
        entry = self.resolve(path)
        if entry.is_dir:
            raise PathError(errno.EISDIR, path, operation="read")
        if not entry.is_file:
            raise PathError(errno.EINVAL, path, operation="open")
        return os.fdopen(os.open(entry.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        """A regular file's bytes, at most ``limit`` of them."""
        with self.open(path) as file:
            return file.read() if limit is None else file.read(limit)

    def real_lowers(self, path: str = "/") -> list[Path]:
        """The directories, bottom to top, whose overlay shows this directory."""
        return [Path(real) for _, real in reversed(self._directory(path).stack)]
