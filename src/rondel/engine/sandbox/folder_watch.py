"""Which files of a folder are opened: a watch on every folder in it, and what its events mean.

``IN_OPEN`` tells of each opening, by whatever process and however it reads then (a mapped file is
never "accessed"). It costs the one who opens less than a microsecond, where access times
are never written for what lies below an overlay.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.engine.sandbox import inotify
from rondel.engine.sandbox.inotify import Inotify
from rondel.engine.sandbox.spec import Opened
from rondel.engine.store.files import open_beneath
from rondel.engine.store.paths import join

if TYPE_CHECKING:
    from rondel.engine.sandbox.trace_scope import TraceScope

SKIPPED = frozenset({".git", ".hg", ".svn", ".venv", "node_modules"})
"""Folders that are not looked into, wherever they are: thousands of files, and no work of anybody's."""
MOST_FOLDERS = 8192
MOST_FILES = 200_000
_MASK = (
    inotify.OPEN
    | inotify.CLOSE_WRITE
    | inotify.CLOSE_NOWRITE  # alone, two openings in a row would be one event, whatever each was for
    | inotify.CREATE
    | inotify.DELETE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
)
_LIMITS = {
    errno.EMFILE: "this user has used up the inotify queues (fs.inotify.max_user_instances)",
    errno.ENOSPC: "this user has used up the folders to be watched (fs.inotify.max_user_watches)",
}


@dataclass(frozen=True, slots=True)
class _WatchedFolder:
    """A watched folder: its path with a slash, and the files in it that were there before the command."""

    path: str
    files: set[str]


class _TooMany(Exception):
    """The folder holds more than is looked at; the message says what."""


class FolderWatch:
    """The watch of one command. ``place`` it before the command, ``read`` meanwhile, ``end`` it after."""

    def __init__(self, scope: TraceScope, *, folders: int = MOST_FOLDERS, files: int = MOST_FILES) -> None:
        self._scope = scope
        self._most = (folders, files)
        self._queue: Inotify | None = None
        self._folders: dict[int, _WatchedFolder] = {}
        self._opened: set[str] = set()
        self._read: set[str] = set()
        self._written: set[str] = set()
        self.unknown = scope.unknown

    @property
    def descriptor(self) -> int:
        """Readable when events wait; -1 without a watch."""
        return self._queue.descriptor if self._queue is not None else -1

    def place(self, root: str) -> None:
        """Watch the folder below ``root``, the container's own as we reach it. It takes a while."""
        try:
            self._queue = Inotify()
            base = open_beneath(root, self._scope.folder)
            try:
                self._add_all(f"/proc/self/fd/{base}")
            finally:
                os.close(base)
        except FileNotFoundError:
            self.unknown = f"there was no folder {self._scope.folder} when the command began"
        except (OSError, _TooMany) as error:
            number = error.errno if isinstance(error, OSError) else None
            self.unknown = _LIMITS.get(number or 0) or f"the folder cannot be watched: {error}"

    def _add_all(self, base: str) -> None:
        assert self._queue is not None  # noqa: S101 - made by `place`
        waiting, count = [""], 0
        while waiting:
            path = waiting.pop()
            if len(self._folders) == self._most[0]:
                raise _TooMany(f"it holds more than {self._most[0]} folders")
            number = self._queue.add(f"{base}/{path}", _MASK)
            files = set()
            with os.scandir(f"{base}/{path}") as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_file(follow_symlinks=False):
                        files.add(name)
                    elif entry.is_dir(follow_symlinks=False) and not self._left_out(path, name):
                        waiting.append(f"{path}{name}/")
            count += len(files)
            if count > self._most[1]:
                raise _TooMany(f"it holds more than {self._most[1]} files")
            self._folders[number] = _WatchedFolder(path, files)

    def _left_out(self, path: str, name: str) -> bool:
        return name in SKIPPED or join(self._scope.folder, path + name) in self._scope.skipped

    def read(self) -> int:
        """Take the events that wait; how many they were."""
        if self._queue is None:
            return 0
        count = 0
        for count, (number, mask, name) in enumerate(self._queue.read(), 1):  # noqa: B007 - answered below
            folder = self._folders.get(number)
            if mask & inotify.OVERFLOW:
                self.unknown = self.unknown or "files were opened faster than the kernel's queue was emptied"
            elif folder is not None and name in folder.files and not mask & inotify.IS_DIRECTORY:
                self._take(mask, folder, name)
        return count

    def _take(self, mask: int, folder: _WatchedFolder, name: str) -> None:
        if mask & inotify.OPEN:
            self._opened.add(folder.path + name)
        elif mask & inotify.CLOSE_WRITE:
            self._written.add(folder.path + name)
        elif mask & inotify.CLOSE_NOWRITE:
            self._read.add(folder.path + name)
        else:
            folder.files.remove(name)  # from here on, the name is that of a file of the command's own

    def end(self) -> Opened:
        """What was opened. No more is read after it."""
        self.read()
        return Opened(
            names=frozenset(self._opened),
            written=frozenset(self._opened & self._written - self._read),
            unknown=self.unknown,
        )

    def detach(self) -> Inotify | None:
        """The kernel's queue, to be closed by the caller; it takes some milliseconds."""
        queue, self._queue = self._queue, None
        return queue
