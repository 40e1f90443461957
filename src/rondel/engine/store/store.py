"""The store: one directory on disk, shared by all sessions of one user.

``l`` layers, ``b`` blobs, ``v`` cache volumes, ``k`` locks, ``s`` live sessions,
``t`` their scratch folders, ``index.db``. The names are short because mount(2)
takes all its options, with the paths of all layers, in one page.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from rondel.engine.store import sessions
from rondel.engine.store.blobs import Blobs
from rondel.engine.store.budget import budget_of
from rondel.engine.store.collect import Checkup, Usage, first_of, plan_collection
from rondel.engine.store.draft import Draft
from rondel.engine.store.errors import StoreCorrupt, StoreTooNew, translated
from rondel.engine.store.export import export_tree
from rondel.engine.store.files import remove_tree
from rondel.engine.store.index import Index
from rondel.engine.store.layers import MOST_LAYERS, Layers, measure, plan_merge
from rondel.engine.store.locks import Locks
from rondel.engine.store.model import OperationResult, Output, Snapshot
from rondel.engine.store.view import Lower, View
from rondel.engine.store.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from rondel.engine.store.index import Object

VERSION = 1
_RESERVE = 512 * 1024
_FOLDERS = ("b", "k", "l", "s", "t", "v")


def default_root() -> Path:
    """The store's default location."""
    named = os.environ.get("RONDEL_ENGINE_HOME")
    if named:
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "rondel" / "engine"


class Store:
    """One directory shared by all sessions of one user; opened by :meth:`open`."""

    def __init__(self, root: Path) -> None:
        """Use the existing, checked directory ``root``; see :meth:`open`."""
        self.root = root
        self.index = Index(root / "index.db")
        self.session = sessions.StoreSession(root / "s", root / "t")
        self.scratch = self.session.scratch
        self.locks = Locks(root / "k")
        self.layers = Layers(root / "l", self.index)
        self.blobs = Blobs(root / "b", self.scratch, self.index)
        self.volumes = Volumes(root / "v", self.scratch, self.index, self.locks, self.view)
        self._grafts: dict[str, Mapping[str, str]] = {}
        self._names = 0
        self._closed = False
        self._at_close: list[Callable[[], None]] = []

    @classmethod
    def open(cls, root: Path | None = None) -> Store:
        """Open or create the store, and clean up after dead sessions.

        ``root`` defaults to ``$RONDEL_ENGINE_HOME``, else ``rondel/engine`` in
        the XDG cache directory. An engine that has only one ID (see
        :mod:`rondel.engine.namespace`) uses the subfolder ``single``, since
        owners have another meaning there. Raises StoreFull, StoreReadOnly,
        StoreTooNew, StoreCorrupt.
        """
        root = default_root() if root is None else root.absolute()
        if _has_one_id():
            root /= "single"
        with translated(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)  # layers may hold setuid files: no other user may reach them
            _check_version(root)
            for name in _FOLDERS:
                (root / name).mkdir(mode=0o700, exist_ok=True)
            store = cls(root)
            sessions.sweep(root, store.index, store.session)
            store.reserve()
            return store

    def close(self, *, sync: bool = True) -> None:
        """End this session: remove its temporary files; with ``sync``, flush its results to disk.

        Without ``sync``, results since the last sync are lost in a crash of the machine, and
        made again.
        """
        if self._closed:
            return
        self._closed = True
        for act in reversed(self._at_close):
            act()
        if sync:
            self.sync()
        self.session.close()
        self.index.close()

    def at_close(self, act: Callable[[], None]) -> None:
        """Register a function to call before the scratch folder is removed, for example to unmount."""
        self._at_close.append(act)

    def reserve(self) -> None:
        """Reserve some space, so that on a full disk the index can still record removals."""
        path = self.root / "reserve"
        if not path.exists():
            with contextlib.suppress(OSError), path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE)

    def sync(self) -> None:
        """Flush the file system and record that; costs nothing if there is nothing to flush."""
        if not self.index.unsynced():
            return
        before = time.time()
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(folder) == 0:
                self.index.synced(before)
        finally:
            os.close(folder)

    def new_path(self) -> Path:
        """An unused name in this session's scratch folder; removed with the session."""
        self._names += 1
        return self.scratch / f"{self._names:x}"

    # --- file systems

    def view(self, snapshot: Snapshot) -> View:
        """The merged tree of a snapshot. StoreCorrupt if one of its layers is gone."""
        if not self.alive(snapshot):
            raise StoreCorrupt(
                "a file system of the engine's store is no longer there",
                why=f"layers {', '.join(snapshot.layers)}",
                hint="run again: it will be made again",
            )
        return View([self.lower(layer) for layer in snapshot.layers])

    def lower(self, layer: str) -> Lower:
        """One layer in the form that a view takes."""
        grafts = self._grafts.get(layer)
        if grafts is None:
            grafts = self.index.get("grafts", layer) or {}
            self._grafts[layer] = grafts
        return Lower(str(self.layers.path(layer)), grafts)

    def alive(self, snapshot: Snapshot) -> bool:
        """Whether all of a snapshot's layers exist; they are kept as long as this session lives."""
        return self.layers.alive(snapshot.layers)

    def holds(self, result: OperationResult) -> bool:
        """Whether everything that a result depends on still exists."""
        return self.layers.alive(result.layers()) and all(map(self.blobs.has, result.blobs()))

    async def publish(self, built: Path, *, grafts: Mapping[str, str] | None = None) -> str:
        """Publish a finished tree of the scratch folder as a layer; returns its ID.

        ``grafts`` maps container paths to host directories that are visible there, as
        in the host image; the tree must contain their parents.
        """

        def act() -> str:
            with translated(self.root):
                layer = self.layers.publish(built)
                if grafts:
                    self.index.put("grafts", layer, dict(grafts))
                return layer

        return await anyio.to_thread.run_sync(act)

    @contextlib.asynccontextmanager
    async def draft(self, base: Snapshot) -> AsyncIterator[Draft]:
        """Build one layer over a snapshot: ``async with store.draft(base) as draft``.

        Without ``await draft.commit()`` all changes are discarded.
        """
        folder = self.new_path()
        with translated(self.root):
            folder.mkdir(mode=0o755)

        async def publish(changed: bool) -> Snapshot:
            if not changed:
                return base
            return base.over(await self.publish(folder))

        try:
            with translated(self.root):
                yield Draft(self.view(base), folder, publish)
        finally:
            if folder.exists():
                await anyio.to_thread.run_sync(remove_tree, folder)

    async def compact(self, snapshot: Snapshot, *, most: int = MOST_LAYERS) -> Snapshot:
        """The same file system in at most ``most`` layers; layer 0 is never merged."""
        layers = list(snapshot.layers)
        while (chosen := plan_merge([self.layers.entries(layer) for layer in layers], most=most)) is not None:
            start, end = chosen
            run = layers[start:end]
            async with self.lock(f"merge {','.join(run)}"):
                scratch = self.new_path()
                try:
                    with translated(self.root):
                        merged = await anyio.to_thread.run_sync(self.layers.merge, run, scratch)
                finally:
                    if scratch.exists():
                        remove_tree(scratch)
            layers[start:end] = [merged]
        return Snapshot(tuple(layers))

    async def export(self, view: View, src: str, dest: Path, *, wipe: bool = False) -> None:
        """Write a directory's content, or a file, to the host; never through a link of the tree."""
        await anyio.to_thread.run_sync(lambda: export_tree(view, src, dest, wipe=wipe))

    # --- results

    def result(self, digest: str) -> OperationResult | None:
        """The stored result of an operation, if everything it depends on still exists."""
        value = self.index.get("result", digest)
        if value is None:
            return None
        result = OperationResult.from_json(value)
        if self.holds(result):
            return result
        self.forget(digest)
        return None

    def record(self, digest: str, result: OperationResult) -> None:
        """Store the result of an operation durably."""
        self.index.put("result", digest, result.to_json())

    def forget(self, digest: str) -> None:
        """Delete a result."""
        self.index.delete("result", digest)

    def lock(self, name: str) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold a lock across tasks and sessions; the kernel frees it if this process is killed."""
        return self.locks.hold(name)

    # --- outputs

    def read(self, output: Output) -> bytes:
        """All of an output's bytes."""
        return output.data if output.blob is None else self.blobs.read(output.blob)

    def tail(self, output: Output, limit: int) -> bytes:
        """The last ``limit`` bytes of an output."""
        if output.blob is None:
            return output.data[-limit:] if limit else b""
        with self.blobs.path(output.blob).open("rb") as file:
            file.seek(max(0, output.size - limit))
            return file.read()

    # --- maintenance

    def usage(self) -> Usage:
        """What the store holds. Walks the cache volumes, which may take seconds."""
        rows = self.index.objects()
        layers = [row.size for row in rows if row.kind == "layer"]
        blobs = [row.size for row in rows if row.kind == "blob"]
        volumes = [path for path in (self.root / "v").iterdir() if path.is_dir()]
        free = os.statvfs(self.root)
        return Usage(
            layers=len(layers),
            layer_bytes=sum(layers),
            blobs=len(blobs),
            blob_bytes=sum(blobs),
            volumes=len(volumes),
            volume_bytes=sum(measure(path).bytes for path in volumes),
            results=self.index.count("result"),
            free_bytes=free.f_bavail * free.f_frsize,
        )

    def check(self, *, deep: bool = False) -> Checkup:
        """Compare layers and blobs with their records, with ``deep`` also their contents.

        What is damaged is forgotten, with every result that depends on it, and every result that
        is younger than a damaged layer: its command may have read it.
        """
        rows = self.index.objects()
        damaged: dict[Object, str] = {}
        for row in rows:
            why = (
                self.layers.damage(row.id, deep=deep)
                if row.kind == "layer"
                else self.blobs.damage(row, deep=deep)
            )
            if why and self.index.object(row.kind, row.id):  # it was not collected meanwhile
                damaged[row] = why
        made = {row.id: value["made"] for row in damaged if (value := self.index.get("layer", row.id))}
        since = min((made.get(row.id, 0) for row in damaged if row.kind == "layer"), default=math.inf)
        for row in damaged:
            self.index.remove(row.kind, [row.id])
            self._discard(row.kind, row.id)
        for key, _ in self.index.documents("copied") if damaged else ():
            self.index.delete("copied", key)
        return Checkup(
            layers=sum(row.kind == "layer" for row in rows),
            blobs=sum(row.kind == "blob" for row in rows),
            damaged=[f"{row.kind} {row.id}: {why}" for row, why in damaged.items()],
            forgotten=self._forget_dead_results(since),
        )

    async def collect(self, budget: int, *, seconds: float = math.inf) -> int:
        """Remove the least recently used layers and blobs until ``budget`` bytes are left.

        Returns the bytes freed. Keeps whatever a live session may use: everything used since the
        oldest of them started. Cache volumes are not touched. After ``seconds`` it stops; the
        next collection continues.
        """
        return await anyio.to_thread.run_sync(self._collect, budget, time.monotonic() + seconds)

    async def trim(self, *, seconds: float, environ: Mapping[str, str] = os.environ) -> int:
        """Collect down to the budget (:mod:`rondel.engine.store.budget`); returns the bytes freed.

        Costs one short query if there is nothing to do. Raises ConfigurationError.
        """
        held = self.index.held()
        budget = budget_of(self.root, held, environ)
        return await self.collect(budget, seconds=seconds) if held > budget else 0

    def _collect(self, budget: int, deadline: float) -> int:
        (self.root / "reserve").unlink(missing_ok=True)
        freed = 0
        while doomed := self._next_doomed(budget):
            for row in doomed:
                self._discard(row.kind, row.id)
                freed += row.size
            if time.monotonic() >= deadline:
                break
        if freed:
            self._forget_dead_results()
        self.reserve()
        return freed

    def _next_doomed(self, budget: int) -> list[Object]:
        """The next objects to remove, already hidden from readers. Few at a time, in case of a kill."""
        with self.index.transaction() as db:
            # Inside the transaction: a session that starts now marks what it uses after it.
            cutoff = sessions.oldest_live(self.root / "s", self.session)
            doomed = first_of(plan_collection(self.index.objects(), budget=budget, cutoff=cutoff))
            for row in doomed:
                db.execute("DELETE FROM objects WHERE kind = ? AND id = ?", (row.kind, row.id))
        return doomed

    def _discard(self, kind: str, name: str) -> None:
        if kind == "layer":
            trash = self.scratch / f"x{secrets.token_hex(6)}"
            with contextlib.suppress(FileNotFoundError):
                self.layers.path(name).rename(trash)
            remove_tree(trash)
            self.index.delete("grafts", name)
            self.index.delete("layer", name)
        else:
            with contextlib.suppress(FileNotFoundError):
                (self.root / "b" / name[7:9] / name[7:]).unlink()

    def _forget_dead_results(self, since: float = math.inf) -> int:
        """Forget results that depend on what is gone, and those made ``since`` then; returns how many."""
        there = {(row.kind, row.id) for row in self.index.objects()}
        before = self.index.count("result")
        for digest, value in self.index.documents("result"):
            result = OperationResult.from_json(value)
            needs = {("layer", x) for x in result.layers()} | {("blob", x) for x in result.blobs()}
            if not needs <= there or result.created >= since:
                self.forget(digest)
        for key, merged in self.index.documents("merged"):
            if ("layer", merged) not in there:
                self.index.delete("merged", key)
        return before - self.index.count("result")


def _has_one_id() -> bool:
    """Whether this process's user namespace maps a single ID."""
    lines = Path("/proc/self/uid_map").read_text().split()
    return len(lines) == 3 and lines[2] == "1"


def _check_version(root: Path) -> None:
    path = root / "format"
    try:
        version = json.loads(path.read_text())["version"]
    except FileNotFoundError:
        temporary = root / f"format.{os.getpid()}.{threading.get_ident()}"
        temporary.write_text(json.dumps({"version": VERSION}))
        temporary.rename(path)
        return
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(
            f"the engine's store in {root} is damaged",
            why=f"{path.name}: {error}",
            hint=f"it is only a cache: remove {root} and run again",
        ) from error
    if version > VERSION:
        raise StoreTooNew(
            f"the engine's store in {root} was written by a newer version",
            why=f"its format is {version}; this version reads up to {VERSION}",
            hint="update rondel, or set RONDEL_ENGINE_HOME to another folder",
        )
