"""The store's index: which objects exist, when they were last used, and the results of operations.

SQLite in WAL mode, one connection per process, every statement short. A row of ``objects``
makes a layer or blob exist for readers. It is written before the directory or file is moved
into place, and removed before that is removed, so a directory without a row is always litter.

Layers are not synced one by one: that would cost more than the commands that
make them. Instead, each row holds the boot in which it was written until the
file system was synced as a whole. After a crash of the machine, rows of another
boot that were never synced are dropped, and whatever depends on them runs again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.engine.store.errors import StoreFull, translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT NOT NULL, id TEXT NOT NULL, size INTEGER NOT NULL, entries INTEGER NOT NULL,
    used REAL NOT NULL, boot TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL, used REAL NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""
_BUSY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Object:
    """One layer or blob: its bytes on disk, entries within, and when it was last used."""

    kind: str
    id: str
    size: int
    entries: int
    used: float


def boot_id() -> str:
    """Identifies this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Index:
    """Small JSON documents by kind and key, and the table of objects. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._root = path.parent
        self._boot = boot_id()
        self._lock = threading.RLock()
        self._fresh: set[tuple[str, str]] = set()
        with translated(self._root):
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            self._db.execute("DELETE FROM objects WHERE boot IS NOT NULL AND boot != ?", (self._boot,))

    def close(self) -> None:
        """Close the connection; the index is unusable afterwards."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction that excludes all other writers of any process."""
        with self._lock, translated(self._root):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock, translated(self._root):
            return self._db.execute(sql, values).fetchall()

    # --- documents

    def get(self, kind: str, key: str) -> Any | None:
        """The document, or None; marks it as used."""
        rows = self._rows("SELECT document FROM documents WHERE kind = ? AND key = ?", (kind, key))
        if not rows:
            return None
        if (kind, key) not in self._fresh:
            self._fresh.add((kind, key))
            with contextlib.suppress(StoreFull):  # reading still works if the time of use cannot be written
                self._rows(
                    "UPDATE documents SET used = ? WHERE kind = ? AND key = ?", (time.time(), kind, key)
                )
        return json.loads(rows[0][0])

    def put(self, kind: str, key: str, document: Any) -> None:
        """Write or replace a document."""
        text = json.dumps(document, separators=(",", ":"))
        self._rows("REPLACE INTO documents VALUES (?, ?, ?, ?)", (kind, key, text, time.time()))

    def delete(self, kind: str, key: str) -> None:
        """Delete a document if it exists."""
        self._rows("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key))

    def documents(self, kind: str) -> list[tuple[str, Any]]:
        """All keys and documents of a kind."""
        rows = self._rows("SELECT key, document FROM documents WHERE kind = ? ORDER BY key", (kind,))
        return [(key, json.loads(text)) for key, text in rows]

    def count(self, kind: str) -> int:
        """How many documents of a kind there are."""
        return int(self._rows("SELECT count(*) FROM documents WHERE kind = ?", (kind,))[0][0])

    # --- objects

    def add(self, kind: str, name: str, *, size: int, entries: int = 1) -> None:
        """Register a layer or blob that is about to be moved into place."""
        self._rows(
            "REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)",
            (kind, name, size, entries, time.time(), self._boot),
        )
        self._fresh.add((kind, name))

    def alive(self, kind: str, names: Iterable[str]) -> bool:
        """Whether all of these exist; marks them as used, so that no collector removes them.

        What this session has marked once stays uncollected while the session lives, so it is
        not checked again.
        """
        unsure = [name for name in dict.fromkeys(names) if (kind, name) not in self._fresh]
        if not unsure:
            return True
        try:
            found = self._mark(kind, unsure)
        except StoreFull:  # no collector can run now, either: that takes space, too
            return all(self.object(kind, name) is not None for name in unsure)
        if found:
            self._fresh.update((kind, name) for name in unsure)
        return found

    def _mark(self, kind: str, names: list[str]) -> bool:
        with self.transaction() as db:
            for name in names:
                done = db.execute(
                    "UPDATE objects SET used = ? WHERE kind = ? AND id = ?", (time.time(), kind, name)
                )
                if done.rowcount != 1:
                    return False
        return True

    def remove(self, kind: str, names: Iterable[str]) -> None:
        """Hide objects from readers; the caller removes their files afterwards."""
        with self.transaction() as db:
            for name in names:
                db.execute("DELETE FROM objects WHERE kind = ? AND id = ?", (kind, name))
                self._fresh.discard((kind, name))

    def objects(self) -> list[Object]:
        """All layers and blobs, least recently used first."""
        rows = self._rows("SELECT kind, id, size, entries, used FROM objects ORDER BY used, kind, id")
        return [Object(*row) for row in rows]

    def held(self) -> int:
        """The total bytes of all layers and blobs."""
        return int(self._rows("SELECT coalesce(sum(size), 0) FROM objects")[0][0])

    def object(self, kind: str, name: str) -> Object | None:
        """One layer or blob."""
        rows = self._rows(
            "SELECT kind, id, size, entries, used FROM objects WHERE kind = ? AND id = ?", (kind, name)
        )
        return Object(*rows[0]) if rows else None

    def unsynced(self) -> int:
        """How many objects a crash of the machine would drop now."""
        return int(self._rows("SELECT count(*) FROM objects WHERE boot IS NOT NULL")[0][0])

    def synced(self, before: float) -> None:
        """Mark all objects written before that time as safely on disk."""
        self._rows("UPDATE objects SET boot = NULL WHERE boot = ? AND used < ?", (self._boot, before))
