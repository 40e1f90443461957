"""The store's errors, and the translation of foreign errors into them."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from typing import TYPE_CHECKING, ClassVar

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class StoreError(EngineError):
    """The engine's store cannot do what was requested."""


class StoreFull(StoreError):
    """The store has no space left, or the quota is used up."""


class StoreReadOnly(StoreError):
    """The store is not writable."""


class StoreTooNew(StoreError):
    """A newer version of the engine wrote the store."""


class StoreCorrupt(StoreError):
    """Something in the store is not what was written."""


class PathError(EngineError):
    """A path of a file system value does not exist, or is of the wrong kind.

    The message is that of Go's standard library, because pipelines match it:
    ``lstat /a/b: no such file or directory``.
    """

    words: ClassVar[dict[int, str]] = {
        errno.ENOENT: "no such file or directory",
        errno.ENOTDIR: "not a directory",
        errno.EISDIR: "is a directory",
        errno.ELOOP: "too many levels of symbolic links",
        errno.EEXIST: "file exists",
        errno.EINVAL: "invalid argument",
        errno.EACCES: "permission denied",
        errno.ENOTEMPTY: "directory not empty",
    }

    def __init__(self, code: int, path: str, *, operation: str = "lstat") -> None:
        self.code = code
        self.path = path
        self.text = self.words.get(code, errno.errorcode.get(code, str(code)))
        super().__init__(f"{operation} {path}: {self.text}")


_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def translate(error: OSError | sqlite3.Error, root: Path) -> StoreError | None:
    """The store's own error for a foreign one, or None for an unrelated error."""
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or "database or disk is full" in text:
        return StoreFull(
            f"no space left for the engine's store in {root}",
            why=text,
            hint="free space there, run `rondel engine prune`, or set RONDEL_ENGINE_HOME to another disk",
        )
    if number in _READ_ONLY or "readonly database" in text or "unable to open database" in text:
        return StoreReadOnly(
            f"the engine's store in {root} cannot be written",
            why=text,
            hint="make it writable, or set RONDEL_ENGINE_HOME to another folder",
        )
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in text or "not a database" in text):
        return StoreCorrupt(
            f"the index of the engine's store in {root} is damaged",
            why=text,
            hint=f"it is only a cache: remove {root} and run again",
        )
    return None


@contextlib.contextmanager
def translated(root: Path) -> Iterator[None]:
    """Raise the store's own errors for those of the disk and of SQLite."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        own = translate(error, root)
        if own is None:
            raise
        raise own from error
