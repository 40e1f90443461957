"""One lock for each stage key: when two runs need the same result, the second waits for the first."""

from __future__ import annotations

import fcntl
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

INTERVAL = 0.1
"""Seconds between two attempts at a lock that another run holds."""


@asynccontextmanager
async def stage_lock(root: Path, key: str, run: str, on_wait: Callable[[str], None]) -> AsyncIterator[bool]:
    """Hold the lock of a stage's key; yields whether it had to wait.

    Calls ``on_wait`` once with the ID of the run that holds the lock. The kernel
    frees an flock when its process dies.
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
                on_wait(os.pread(descriptor, 100, 0).decode("ascii", "replace").strip())
                waited = True
            os.close(descriptor)
            await anyio.sleep(INTERVAL)
            continue
        if _is_same_file(path, descriptor):
            break
        os.close(descriptor)  # The holder removed the file between our open and flock.
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, run.encode(), 0)
        yield waited
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
