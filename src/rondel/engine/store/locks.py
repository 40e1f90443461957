"""Locks between tasks and sessions: flock on files that disappear with their last holder.

The kernel frees them when a process dies for any reason. A process that gets the lock of
a file that has been unlinked in the meantime tries again with the new file.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_FIRST_WAIT = 0.005
_LONGEST_WAIT = 0.1


def try_lock(path: Path, *, exclusive: bool = True) -> int | None:
    """An open descriptor that holds the lock of ``path``, or None if another one holds it."""
    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return None
        except BaseException:
            os.close(held)
            raise
        if _is_still(path, held):
            return held
        os.close(held)


def release(path: Path, held: int) -> None:
    """Release the lock; the file is removed unless others share the lock."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        with contextlib.suppress(OSError):
            path.unlink()
    os.close(held)


def _is_still(path: Path, held: int) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(held)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


class Locks:
    """Named locks in one folder. Waiting tasks of this process are woken at once, other processes poll."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._released: dict[str, asyncio.Event] = {}

    def path(self, name: str) -> Path:
        """The lock file of ``name``."""
        return self._folder / hashlib.sha256(name.encode()).hexdigest()[:32]

    @contextlib.asynccontextmanager
    async def hold(self, name: str, *, exclusive: bool = True) -> AsyncIterator[None]:
        """Wait for the lock and hold it; can be cancelled while it waits."""
        path = self.path(name)
        wait = _FIRST_WAIT
        while (held := try_lock(path, exclusive=exclusive)) is None:
            released = self._released.setdefault(name, asyncio.Event())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await released.wait()
            wait = min(wait * 2, _LONGEST_WAIT)
        try:
            yield
        finally:
            release(path, held)
            if (event := self._released.pop(name, None)) is not None:
                event.set()
