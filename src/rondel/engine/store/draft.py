"""Builds one layer over a snapshot without mounting anything.

Every path is resolved in the merged tree of base and layer, so a link in the base leads
where it would lead in the container, and never to the host.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from rondel.engine.store.errors import PathError
from rondel.engine.store.files import remove_tree, set_owner, write_new
from rondel.engine.store.layers import copy_metadata, whiteout
from rondel.engine.store.model import Snapshot, TreeEntry
from rondel.engine.store.paths import descend, join
from rondel.engine.store.view import OPAQUE, Lower, View, ViewNode

if TYPE_CHECKING:
    from pathlib import Path

Keep: TypeAlias = Callable[[str, TreeEntry], bool]


class Draft:
    """A layer under construction over a snapshot; not thread-safe.

    Paths are container paths. Links in their directories are followed inside the root; missing
    parents are created with mode 0755, owned by root. The last part of a path is never followed:
    it is replaced. ``view`` shows the base with all changes so far.
    """

    def __init__(self, base: View, folder: Path, publish: Callable[[bool], Awaitable[Snapshot]]) -> None:
        """Start in an empty ``folder``; ``publish`` receives whether anything changed."""
        copy_metadata(str(base.root.entry.real), str(folder)) if base.lowers else folder.chmod(0o755)
        self.view = View((*base.lowers, Lower(str(folder))), changing=True)
        self._own = len(base.lowers)
        self._folder = str(folder)
        self._publish = publish
        self._changed = False
        self._parents: dict[str, str] = {}
        self._made: dict[str, str] = {"/": self._folder}

    # --- paths

    def _locate(self, path: str) -> tuple[str, str]:
        """The canonical parent of a path, and the last part's name."""
        head, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise PathError(errno.EINVAL, path, operation="open")
        return self._parent(head), name

    def _parent(self, path: str) -> str:
        """Make sure that a directory and its parents are in the layer; returns its canonical path."""
        known = self._parents.get(path)
        if known is not None:
            return known
        node, missing = descend(self.view.root, path)
        here = node.entry.path
        if not node.entry.is_dir:
            raise PathError(errno.ENOTDIR, path)
        self._materialise(here)
        for name in missing:
            if name == "..":  # below something that does not exist
                raise PathError(errno.ENOENT, path)
            self._make(here, name)
            here = join(here, name)
        self._parents[path] = here
        return here

    def _materialise(self, path: str) -> str:
        """The layer's own directory for a canonical one of the merged tree."""
        own = self._made.get(path)
        if own is not None:
            return own
        head, _, name = path.rpartition("/")
        own = f"{self._materialise(head or '/')}/{name}"
        if not os.path.isdir(own):
            entry = self.view.resolve(path, follow=False)
            os.mkdir(own)
            copy_metadata(str(entry.real), own)
        self._made[path] = own
        return own

    def _make(self, parent: str, name: str) -> str:
        """Make a directory; anything else at that path is replaced."""
        own = f"{self._materialise(parent)}/{name}"
        hidden = self._clear(own)
        os.mkdir(own)
        os.chmod(own, 0o755)  # noqa: S103 - a directory of a container
        if hidden:
            os.setxattr(own, OPAQUE, b"y")
        self._changed = True
        self._made[join(parent, name)] = own
        return own

    def _clear(self, own: str) -> bool:
        """Remove what the layer itself has at a path; returns whether that hid something of the base."""
        try:
            status = os.lstat(own)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(status.st_mode):
            remove_tree(own)
        else:
            os.unlink(own)
        if not stat.S_ISREG(status.st_mode):
            self._forget()
        return True

    def _forget(self) -> None:
        """Drop cached directories, which may have moved."""
        self._parents.clear()
        self._made = {"/": self._folder}

    def _replace(self, path: str) -> str:
        """Make room in the layer for a new file at a path."""
        parent, name = self._locate(path)
        own = f"{self._materialise(parent)}/{name}"
        if path in self._parents:  # it was a directory or a link to one
            self._forget()
        self._clear(own)
        self._changed = True
        return own

    # --- operations

    def write(
        self,
        path: str,
        data: bytes | str | Path,
        *,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        mtime_ns: int | None = None,
        link_ok: bool = False,
    ) -> None:
        """Write a file, replacing whatever is there: bytes, or the content of a path.

        With ``link_ok`` it may share that file's inode, which must never change then.
        """
        own = self._replace(path)
        if link_ok and not isinstance(data, bytes) and _linked(data, own, mode, uid, gid, mtime_ns):
            return
        write_new(own, data, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns)

    def mkdir(
        self,
        path: str,
        *,
        mode: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        mtime_ns: int | None = None,
        merge: bool = False,
    ) -> str:
        """Make a directory, or set the metadata of an existing one; returns its canonical path.

        With ``merge``, a link to a directory counts as the directory.
        """
        if not path.strip("/"):
            self._metadata(self._folder, mode, uid, gid, mtime_ns)
            return "/"
        parent, name = self._locate(path)
        node, _ = descend(self.view.root, parent)
        there = node.child(name)
        entry = None if there is None else there.entry
        if entry is not None and entry.is_link and merge:
            entry = self.view.lookup(entry.path)
        if entry is not None and entry.is_dir:
            canonical = entry.path
            own = self._materialise(canonical)
        else:
            canonical = join(parent, name)
            own = self._make(parent, name)
        self._metadata(own, mode, uid, gid, mtime_ns)
        return canonical

    def _metadata(
        self, own: str, mode: int | None, uid: int | None, gid: int | None, mtime_ns: int | None
    ) -> None:
        self._changed = True
        if uid is not None or gid is not None:
            set_owner(own, -1 if uid is None else uid, -1 if gid is None else gid)
        if mode is not None and not os.path.islink(own):
            os.chmod(own, stat.S_IMODE(mode))
        if mtime_ns is not None:
            os.utime(own, ns=(mtime_ns, mtime_ns), follow_symlinks=False)

    def symlink(
        self, target: str, path: str, *, uid: int = 0, gid: int = 0, mtime_ns: int | None = None
    ) -> None:
        """Create a symbolic link, replacing whatever is there."""
        own = self._replace(path)
        os.symlink(target, own)
        self._metadata(own, None, uid or None, gid or None, mtime_ns)

    def hardlink(self, target: str, path: str) -> None:
        """Create another name for an existing file (image layers have them)."""
        parent, name = self._locate(target)
        node = descend(self.view.root, parent)[0].child(name)
        if node is None:
            raise PathError(errno.ENOENT, target, operation="link")
        if node.entry.is_dir:
            raise PathError(errno.EISDIR, target, operation="link")
        source = f"{self._materialise(parent)}/{name}"
        if not os.path.lexists(source):
            self._copy_entry(node.entry, source, None, None, None, link=False)
        own = self._replace(path)
        if source != own:
            os.link(source, own, follow_symlinks=False)

    def remove(self, path: str) -> bool:
        """Remove a path, directories with their content; returns whether there was anything."""
        head, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise PathError(errno.EINVAL, path, operation="remove")
        try:
            node, missing = descend(self.view.root, head)
        except PathError:
            return False
        if missing or not node.entry.is_dir or node.child(name) is None:
            return False
        below = node.child_below(name, self._own) is not None
        own = f"{self._materialise(node.entry.path)}/{name}"
        self._clear(own)
        self._forget()
        if below:
            whiteout(own)
        self._changed = True
        return True

    def opaque(self, path: str) -> None:
        """Hide all that the base has in this directory (image layers ask for it)."""
        own = self._materialise(self._parent(path))
        os.setxattr(own, OPAQUE, b"y")
        self._forget()
        self._changed = True

    def set_meta(
        self,
        path: str,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        """Change the metadata of a path; a link at its end is not followed."""
        entry = self.view.resolve(path, follow=False)
        if entry.is_dir:
            own = self._materialise(entry.path)
        else:
            head, _, name = entry.path.rpartition("/")
            own = f"{self._materialise(head or '/')}/{name}"
            if not os.path.lexists(own):
                self._copy_entry(entry, own, None, None, None, link=False)
            elif os.lstat(own).st_nlink > 1:  # shared with a layer, which must not change
                os.unlink(own)
                self._copy_entry(entry, own, None, None, None, link=False)
        self._metadata(own, mode, uid, gid, mtime_ns)

    # --- copying

    def copy_tree(
        self,
        source: View,
        src: str,
        dst: str,
        *,
        keep: Keep | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mode: int | None = None,
        share: bool = True,
    ) -> None:
        """Copy a directory's content, or a file, merging it into what is there.

        ``keep`` receives the path relative to ``src`` and the entry; a directory that it refuses is
        not entered. ``uid``, ``gid`` and ``mode`` replace those of the source; ``mode`` only for
        files. Without ``share``, no inode of the source is reused. Raises PathError if ``src`` is
        missing.
        """
        node = source.node(src)
        # An inode is shared only if it cannot appear twice in one tree: `cp` would treat
        # the two files as the same one.
        ours = {lower.root for lower in self.view.lowers}
        link = share and uid is None and gid is None and mode is None
        link = link and not any(lower.root in ours or lower.grafts for lower in source.lowers)
        if not node.entry.is_dir:
            self._copy_entry(node.entry, self._replace(dst), uid, gid, mode, link=link)
            return
        if dst.strip("/") and self.view.lookup(dst) is None:
            entry = node.entry
            owner = entry.uid if uid is None else uid, entry.gid if gid is None else gid
            self.mkdir(dst, mode=entry.mode, uid=owner[0], gid=owner[1])
        self._copy_children(node, "", self._parent(dst), keep, (uid, gid, mode), link=link)

    def _copy_children(
        self,
        node: ViewNode,
        relative: str,
        target: str,
        keep: Keep | None,
        override: tuple[int | None, int | None, int | None],
        *,
        link: bool,
    ) -> None:
        uid, gid, mode = override
        for child in node.children():
            entry = child.entry
            name = entry.name
            inner = f"{relative}/{name}" if relative else name
            if keep is not None and not keep(inner, entry):
                continue
            path = join(target, name)
            if not entry.is_dir:
                self._copy_entry(entry, self._replace(path), uid, gid, mode, link=link)
                continue
            owner = entry.uid if uid is None else uid, entry.gid if gid is None else gid
            path = self.mkdir(path, mode=entry.mode, uid=owner[0], gid=owner[1], merge=True)
            self._copy_children(child, inner, path, keep, override, link=link)
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._materialise(path), ns=(entry.mtime_ns, entry.mtime_ns))

    @staticmethod
    def _copy_entry(
        entry: TreeEntry, own: str, uid: int | None, gid: int | None, mode: int | None, *, link: bool
    ) -> None:
        owner = entry.uid if uid is None else uid, entry.gid if gid is None else gid
        if entry.link is not None:
            os.symlink(entry.link, own)
            set_owner(own, *owner)
            os.utime(own, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
        elif entry.is_file:
            if link and _linked(entry.file, own, entry.mode, *owner, entry.mtime_ns):
                return
            bits = entry.mode if mode is None else mode
            write_new(own, entry.file, mode=bits, uid=owner[0], gid=owner[1], mtime_ns=entry.mtime_ns)
        # Sockets, pipes and devices have no content to copy.

    def copy_host(
        self,
        root: Path,
        entries: Iterable[str],
        dst: str,
        *,
        uid: int | None = 0,
        gid: int | None = 0,
    ) -> None:
        """Copy files of the host, named relative to ``root`` (parents first), below ``dst``.

        ``uid`` and ``gid`` None keep the host's. Setuid and setgid bits are dropped; sockets, pipes
        and devices are left out; files that vanish in the meantime are skipped.
        """
        base = str(root)
        if self.view.lookup(dst) is None:
            self.mkdir(dst)
        target = self._parent(dst)
        folders: list[tuple[str, int]] = []
        for relative in entries:
            real = f"{base}/{relative}"
            try:
                status = os.lstat(real)
            except FileNotFoundError:
                continue
            owner = status.st_uid if uid is None else uid, status.st_gid if gid is None else gid
            path = join(target, relative)
            bits = status.st_mode & 0o1777
            if stat.S_ISDIR(status.st_mode):
                self.mkdir(path, mode=bits, uid=owner[0], gid=owner[1])
                folders.append((path, status.st_mtime_ns))
            elif stat.S_ISLNK(status.st_mode):
                self.symlink(os.readlink(real), path, uid=owner[0], gid=owner[1], mtime_ns=status.st_mtime_ns)
            elif stat.S_ISREG(status.st_mode):
                with contextlib.suppress(FileNotFoundError):
                    self.write(path, real, mode=bits, uid=owner[0], gid=owner[1], mtime_ns=status.st_mtime_ns)
        for path, mtime_ns in reversed(folders):
            os.utime(self._materialise(path), ns=(mtime_ns, mtime_ns))

    async def commit(self) -> Snapshot:
        """Publish the layer atomically; the base itself if nothing changed."""
        return await self._publish(self._changed)


def _linked(  # noqa: PLR0917 - a file's properties, in their usual order
    source: str | Path, own: str, mode: int, uid: int, gid: int, mtime_ns: int | None
) -> bool:
    """Whether a file could become a hard link: a second name with the same metadata."""
    status = os.lstat(source)
    same = (
        stat.S_ISREG(status.st_mode)
        and status.st_nlink == 1
        and stat.S_IMODE(status.st_mode) == stat.S_IMODE(mode)
        and (status.st_uid, status.st_gid) == (uid, gid)
        and mtime_ns in (None, status.st_mtime_ns)
    )
    if not same:
        return False
    try:
        os.link(source, own)
    except OSError:
        return False
    return True
