"""Two runs of one pipeline at once: the second one waits for the result that the first one is making."""

from __future__ import annotations

import fcntl
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

INTERVAL = 0.1
"""Seconds between two looks at a lock that another run holds."""


@asynccontextmanager
async def making(root: Path, key: str, run: str, waiting: Callable[[str], None]) -> AsyncIterator[bool]:
    """Hold the right to make the result of that key; whether it had to be waited for.

    ``waiting`` is told the ID of the run that makes it now. The kernel frees the
    lock when a process ends, however it does.
    """
    import anyio

    folder = root / ".rondel" / "locks" / "making"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / key.partition(":")[2][:24]
    waited = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waited:
                waiting(os.pread(descriptor, 100, 0).decode("ascii", "replace").strip())
                waited = True
            os.close(descriptor)
            await anyio.sleep(INTERVAL)
            continue
        if _is(path, descriptor):
            break
        os.close(descriptor)  # its holder removed it just now
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, run.encode(), 0)
        yield waited
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
