"""The overlays of one container: where writes go, and the layers made of them.

Every overlay has its own upper directory in the session's scratch folder, so it
can be moved into the store as it is. Missing mount points are created in a lower
directory on top of the others (``stubs``), where they are visible but do not
count as writes.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.sandbox.bwrap import Overlay
from rondel.engine.store import PathError, Snapshot, TreeEntry
from rondel.engine.store.files import set_owner
from rondel.engine.store.layers import copy_metadata
from rondel.engine.store.paths import join

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.engine.store.view import View


def make_like(target: str, entry: TreeEntry) -> None:
    """Make a directory with another's metadata."""
    os.mkdir(target)
    if entry.uid or entry.gid:
        set_owner(target, entry.uid, entry.gid)
    os.chmod(target, stat.S_IMODE(entry.mode))
    os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))


@dataclass(slots=True)
class ContainerOverlay:
    """One overlay: ``path`` in the container shows ``base`` of ``snapshot``.

    ``name`` is the path that the mount was requested for; ``path`` contains no links.

    ``graft`` marks an overlay over a graft of the root's snapshot; its writes belong
    to the root's layer.
    """

    path: str
    name: str
    snapshot: Snapshot
    view: View
    base: str
    lowers: tuple[str, ...]
    folder: Path
    graft: bool = False
    readonly: bool = False
    stubbed: bool = False
    status: tuple[int, int, int] = (0, 0, 0)
    _entries: dict[str, TreeEntry] = field(default_factory=dict)

    @property
    def upper(self) -> str:
        """The directory that receives writes."""
        return f"{self.folder}/u"

    def prepare(self) -> None:
        """Create the upper directory; it shows as the overlay's root, so it gets that one's metadata."""
        self.folder.mkdir(mode=0o700)
        make_like(self.upper, self.entry(self.base))
        os.mkdir(f"{self.folder}/w", 0o700)
        self.status = _status(self.upper)

    def entry(self, path: str) -> TreeEntry:
        """An entry of the snapshot, by its canonical path there."""
        found = self._entries.get(path)
        if found is None:
            found = self._entries[path] = self.view.resolve(path, follow=False)
        return found

    def inner(self, path: str) -> str:
        """A container path below this overlay, relative to it."""
        return path[len(self.path) :].strip("/")

    def stub(self, path: str, missing: Sequence[str], *, directory: bool) -> None:
        """Create a mount point; ``path`` is the deepest existing directory on the way, in the container."""
        top = f"{self.folder}/s"
        if not self.stubbed:
            make_like(top, self.entry(self.base))
            self.stubbed = True
        here = top
        inner = self.base
        for name in filter(None, self.inner(path).split("/")):
            here, inner = f"{here}/{name}", join(inner, name)
            if not os.path.isdir(here):
                self._make_like(here, inner)
        for name in missing[:-1]:
            here = f"{here}/{name}"
            os.makedirs(here, 0o755, exist_ok=True)
        last = f"{here}/{missing[-1]}"
        if directory:
            os.makedirs(last, 0o755, exist_ok=True)
        else:
            os.makedirs(here, 0o755, exist_ok=True)
            with open(last, "ab"):
                pass

    def make(self, path: str, missing: Sequence[str], owner: tuple[int, int]) -> None:
        """Create a missing directory as part of what this container writes."""
        here = self.materialise(self.inner(path))
        for name in missing:
            here = f"{here}/{name}"
            os.mkdir(here, 0o755)
            set_owner(here, *owner)

    def materialise(self, relative: str) -> str:
        """The upper's copy of an existing directory, never through a link.

        Raises NotADirectoryError if the container replaced a part of the path by something else.
        """
        here, inner = self.upper, self.base
        for name in filter(None, relative.split("/")):
            here, inner = f"{here}/{name}", join(inner, name)
            try:
                mode = os.lstat(here).st_mode
            except FileNotFoundError:
                self._make_like(here, inner)
                continue
            if not stat.S_ISDIR(mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), here)
        return here

    def _make_like(self, target: str, inner: str) -> None:
        """Make a directory like the snapshot's, or a plain one if there is only a mount point."""
        try:
            make_like(target, self.entry(inner))
        except PathError:
            os.mkdir(target, 0o755)

    def mount(self) -> Overlay:
        """The mount for bwrap."""
        lowers = (*self.lowers, f"{self.folder}/s") if self.stubbed else self.lowers
        if self.readonly:
            return Overlay(self.path, lowers)
        return Overlay(self.path, lowers, self.upper, f"{self.folder}/w")

    def changed(self) -> bool:
        """Whether the container wrote anything here."""
        if self.readonly:
            return False
        with os.scandir(self.upper) as found:
            if next(found, None) is not None:
                return True
        return _status(self.upper) != self.status

    def as_layer(self) -> Path:
        """The layer that this overlay's writes make over its snapshot, as a tree."""
        if self.base == "/":
            return Path(self.upper)
        top = f"{self.folder}/l"
        make_like(top, self.entry("/"))
        here, inner = top, "/"
        parts = self.base.strip("/").split("/")
        for name in parts[:-1]:
            here, inner = f"{here}/{name}", join(inner, name)
            make_like(here, self.entry(inner))
        os.rename(self.upper, f"{here}/{parts[-1]}")
        return Path(top)

    def take_in(self, graft: ContainerOverlay) -> None:
        """Move the writes to a graft to their path in this overlay."""
        parent, _, name = self.inner(graft.path).rpartition("/")
        os.rename(graft.upper, f"{self.materialise(parent)}/{name}")


@dataclass(slots=True)
class CopiedFile:
    """A mounted file that the command may change: a private copy, compared afterwards."""

    name: str
    snapshot: Snapshot
    view: View
    base: str
    copy: str
    before: tuple[int, ...] = ()

    def remember(self) -> None:
        """Remember the copy's state before the container runs."""
        self.before = self._state()

    def changed(self) -> bool:
        """Whether the container wrote to it."""
        return self._state() != self.before

    def _state(self) -> tuple[int, ...]:
        status = os.lstat(self.copy)
        return (status.st_ctime_ns, status.st_size, status.st_mode, status.st_uid, status.st_gid)

    def as_layer(self) -> Path:
        """The layer that the change makes over its snapshot, as a tree."""
        top = f"{self.copy}.l"
        make_like(top, self.view.resolve("/"))
        here, inner = top, "/"
        parts = self.base.strip("/").split("/")
        for name in parts[:-1]:
            here, inner = f"{here}/{name}", join(inner, name)
            os.mkdir(here)
            copy_metadata(str(self.view.resolve(inner, follow=False).real), here)
        os.rename(self.copy, f"{here}/{parts[-1]}")
        return Path(top)


def _status(path: str) -> tuple[int, int, int]:
    status = os.lstat(path)
    return (status.st_mode, status.st_uid, status.st_gid)
