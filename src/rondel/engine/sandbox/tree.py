"""What a container sees at a path: the root's snapshot with the mounts over it.

Mount points, commands, redirects and the working directory must be found
before anything is mounted. Links are followed inside the container's root, also
across mounts; a missing mount point counts as an empty directory.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from rondel.engine.sandbox.spec import (
    BindMount,
    OverlayMount,
    SandboxMount,
    SecretFileMount,
    SnapshotFileMount,
    TmpfsMount,
    UnixSocketMount,
    VolumeMount,
)
from rondel.engine.store.files import open_beneath, open_file_beneath
from rondel.engine.store.model import TreeEntry
from rondel.engine.store.paths import descend, join
from rondel.engine.store.view import View, ViewNode, entry_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOWHERE = "/nonexistent"


class TreeNode:
    """A node in the container: ``mount`` is the path of its mount, ``inner`` its path there.

    ``source`` is the host directory or file that is mounted there. Others may write to it at any
    moment and swap directories for links, so everything below it is looked up by descriptor.
    """

    __slots__ = ("_tree", "_view", "entry", "inner", "mount", "source")

    def __init__(
        self,
        tree: MountTree,
        entry: TreeEntry,
        mount: str,
        inner: str,
        view: ViewNode | None = None,
        *,
        source: str | None = None,
    ) -> None:
        self._tree = tree
        self._view = view
        self.entry = entry
        self.mount = mount
        self.inner = inner
        self.source = source

    def open(self) -> int:
        """A descriptor of the regular file. Raises OSError if it no longer is one."""
        if self.source is not None:
            return open_file_beneath(self.source, self.inner)
        return open_file_beneath(str(self.entry.real), "")

    def child(self, name: str) -> TreeNode | None:
        """The child of that name, or None."""
        path = join(self.entry.path, name)
        over = self._tree.mounted(path)
        if over is not None:
            return over
        inner = join(self.inner, name)
        if self._view is not None:
            found = self._view.child(name)
            if found is not None:
                return TreeNode(self._tree, _at(path, found.entry), self.mount, inner, found)
        elif self.source is not None:
            try:
                entry = _entry_beneath(path, self.source, self.inner, name)
            except OSError:
                entry = None
            if entry is not None:
                return TreeNode(self._tree, entry, self.mount, inner, source=self.source)
        if self._tree.leads_to_mount(path):
            return TreeNode(self._tree, _empty_directory(path), self.mount, inner)
        return None


def _at(path: str, entry: TreeEntry) -> TreeEntry:
    if entry.path == path:
        return entry
    return TreeEntry(
        path, entry.file, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns, entry.link
    )


def _entry_beneath(path: str, source: str, inner: str, name: str) -> TreeEntry:
    folder = open_beneath(source, inner)
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        link = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else None
    finally:
        os.close(folder)
    return entry_of(path, f"{source}{join(inner, name)}", status, link)


def _empty_directory(path: str) -> TreeEntry:
    return TreeEntry(path, _NOWHERE, stat.S_IFDIR | 0o755, 0, 0, 0, 0)


class MountTree:
    """A root view with mounts; add them parents first, by their canonical paths."""

    def __init__(self, root: View, views: Mapping[str, ViewNode] | None = None) -> None:
        self._root = root
        self._nodes: dict[str, TreeNode] = {}
        self._views = dict(views or {})

    @property
    def root(self) -> TreeNode:
        """The container's root directory."""
        node = self._root.root
        return TreeNode(self, node.entry, "/", "/", node)

    def mounted(self, path: str) -> TreeNode | None:
        """What is mounted exactly at a path."""
        return self._nodes.get(path)

    def leads_to_mount(self, path: str) -> bool:
        """Whether a mount point lies below the path."""
        start = f"{path}/"
        return any(point.startswith(start) for point in self._nodes)

    def canonical(self, path: str) -> str:
        """The path with all links resolved, as far as it exists; PathError below a file."""
        node, missing = descend(self.root, path)
        found = node.entry.path
        for name in missing:
            found = found if name == ".." else join(found, name)
        return found

    def find(self, path: str) -> tuple[TreeNode, Sequence[str]]:
        """The deepest existing node on the way to a path, and the missing rest; PathError below a file."""
        return descend(self.root, path)

    def add(
        self, path: str, mount: SandboxMount, view: ViewNode | None = None, *, secret: str = _NOWHERE
    ) -> None:
        """Add a mount; ``view`` is the content of a snapshot mount, ``secret`` a secret's file."""
        if isinstance(mount, OverlayMount | SnapshotFileMount):
            if view is None:
                raise ValueError("a mount of a snapshot needs its node")
            node = TreeNode(self, _at(path, view.entry), path, "/", view)
        elif isinstance(mount, TmpfsMount):
            node = TreeNode(self, _empty_directory(path), path, "/")
        elif isinstance(mount, SecretFileMount):
            mode = stat.S_IFREG | mount.mode
            size = len(mount.value)
            node = TreeNode(self, TreeEntry(path, secret, mode, mount.uid, mount.gid, size, 0), path, "/")
        elif isinstance(mount, VolumeMount | BindMount | UnixSocketMount):
            real = str(mount.source)
            node = TreeNode(self, entry_of(path, real, os.stat(real)), path, "/", source=real)
        self._nodes[path] = node
