"""Live sessions, and the clean-up after dead ones.

A session is a file that its process keeps locked; its name begins with the start time. If the
lock can be taken, the session is dead for whatever reason: its scratch folder is removed, and
so is litter in the store.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING

from rondel.engine.store.files import remove_tree
from rondel.engine.store.locks import release, try_lock

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engine.store.index import Index


class StoreSession:
    """The session of this process: its scratch folder, and the lock that shows that it is alive."""

    def __init__(self, sessions: Path, scratch: Path) -> None:
        """Register in the folder ``sessions``, and make a scratch folder of the same name in ``scratch``."""
        while True:
            self.started = time.time()
            self.name = f"{int(self.started * 1000):x}{secrets.token_hex(2)}"
            self._path = sessions / self.name
            held = try_lock(self._path)
            if held is not None:
                break
        self._held = held
        self.scratch = scratch / self.name
        self.scratch.mkdir(mode=0o700)

    def close(self) -> None:
        """Remove the session's scratch folder and end it."""
        remove_tree(self.scratch)
        release(self._path, self._held)


def started(name: str) -> float:
    """The start time in a session's name, in seconds since the epoch."""
    return int(name[:-4], 16) / 1000


def oldest_live(sessions: Path, own: StoreSession) -> float:
    """When the oldest live session started."""
    oldest = own.started
    for name in os.listdir(sessions):
        if name == own.name:
            continue
        held = try_lock(sessions / name)
        if held is None:
            oldest = min(oldest, started(name))
        else:
            release(sessions / name, held)
    return oldest


def sweep(root: Path, index: Index, own: StoreSession) -> int:
    """Remove what dead sessions left: scratch folders and unregistered layers. Returns how many."""
    sessions, scratch = root / "s", root / "t"
    dead = 0
    for name in os.listdir(sessions):
        if name == own.name:
            continue
        path = sessions / name
        held = try_lock(path)
        if held is None:
            continue
        remove_tree(scratch / name)
        release(path, held)
        dead += 1
    live = set(os.listdir(sessions))
    for name in os.listdir(scratch):
        # A session's file is created before its folder, and removed after it.
        if name not in live and not (sessions / name).exists():
            remove_tree(scratch / name)
    if dead:
        _litter(root, index, own)
    return dead


def _litter(root: Path, index: Index, own: StoreSession) -> None:
    """Layers without a row. The listing comes first: rows are written before folders appear."""
    there = os.listdir(root / "l")
    known = {row.id for row in index.objects() if row.kind == "layer"}
    for name in there:
        if name not in known:
            trash = own.scratch / f"x{name}"
            (root / "l" / name).rename(trash)
            remove_tree(trash)
