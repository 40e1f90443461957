"""Records which files of a folder are opened, by an inotify watch on every directory in it.

``IN_OPEN`` reports each opening by any process, however it reads the file later (mapped files
cause no IN_ACCESS). It costs the opening process less than a microsecond. Access times are no
alternative: the kernel never updates them for the layers below an overlay.
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
"""Directories that are not watched at any depth: thousands of files that no command of a user depends on."""
MOST_FOLDERS = 8192
MOST_FILES = 200_000
_MASK = (
    inotify.OPEN
    | inotify.CLOSE_WRITE
    | inotify.CLOSE_NOWRITE  # without it, the kernel merges two openings in a row into one event
    | inotify.CREATE
    | inotify.DELETE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
)
_LIMITS = {
    errno.EMFILE: "all inotify queues of this user are in use (fs.inotify.max_user_instances)",
    errno.ENOSPC: "all inotify watches of this user are in use (fs.inotify.max_user_watches)",
}


@dataclass(frozen=True, slots=True)
class _WatchedFolder:
    """A watched directory: its path with a slash, and the files that it held before the command."""

    path: str
    files: set[str]


class _TooMany(Exception):
    """The folder holds more than the limit; the message says what."""


class FolderWatch:
    """The watch of one command: ``start`` it before the command, ``read`` during it, ``end`` it after."""

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
        """Readable if events are pending; -1 without a watch."""
        return self._queue.descriptor if self._queue is not None else -1

    def start(self, root: str) -> None:
        """Watch the folder below ``root``, the container's root as this process reaches it. Takes a while."""
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
        assert self._queue is not None  # noqa: S101 - made by `start`
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
        """Process the pending events; returns their number."""
        if self._queue is None:
            return 0
        count = 0
        for count, (number, mask, name) in enumerate(self._queue.read(), 1):  # noqa: B007 - returned below
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
            folder.files.remove(name)  # from now on, a file of that name is one that the command made

    def end(self) -> Opened:
        """What was opened. Reads no more events afterwards."""
        self.read()
        return Opened(
            names=frozenset(self._opened),
            written=frozenset(self._opened & self._written - self._read),
            unknown=self.unknown,
        )

    def detach(self) -> Inotify | None:
        """The inotify queue, for the caller to close, which takes the kernel some milliseconds."""
        queue, self._queue = self._queue, None
        return queue
