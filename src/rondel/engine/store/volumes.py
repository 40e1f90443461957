"""Cache volumes: writable folders that outlive sessions and that sessions share."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import stat
from typing import TYPE_CHECKING

import anyio.to_thread

from rondel.engine.store.draft import Draft
from rondel.engine.store.files import remove_tree, set_owner
from rondel.engine.store.locks import Locks, release, try_lock
from rondel.engine.store.view import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from rondel.engine.store.index import Index
    from rondel.engine.store.model import Snapshot


class Volumes:
    """Cache volumes by key. The caller puts everything that identifies a volume into the key."""

    def __init__(
        self, folder: Path, scratch: Path, index: Index, locks: Locks, view: Callable[[Snapshot], View]
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._index = index
        self._locks = locks
        self._view = view

    def path(self, key: str) -> Path:
        """The folder of a volume, which may not exist yet."""
        return self._folder / hashlib.sha256(key.encode()).hexdigest()[:16]

    async def prepare(
        self,
        key: str,
        *,
        source: Snapshot | None = None,
        subpath: str = "/",
        owner: tuple[int, int] | None = None,
        mode: int = 0o755,
    ) -> Path:
        """The volume's folder; created at the first call, as a copy of ``source`` owned by ``owner``.

        PathError if ``subpath`` is not a directory of ``source``.
        """
        path = self.path(key)
        if not path.exists():
            async with self._locks.hold(f"volume-made {key}"):
                if not path.exists():
                    await anyio.to_thread.run_sync(self._make, path, source, subpath, owner, mode)
        self._index.put("volume", key, path.name)
        return path

    def _make(
        self, path: Path, source: Snapshot | None, subpath: str, owner: tuple[int, int] | None, mode: int
    ) -> None:
        built = self._scratch / f"v{secrets.token_hex(6)}"
        built.mkdir(mode=0o755)
        uid, gid = owner if owner is not None else (None, None)
        try:
            if source is not None:
                # Copies, not links: a volume is changed in place.
                draft = Draft(View(()), built, _never)
                draft.copy_tree(self._view(source), subpath, "/", uid=uid, gid=gid, share=False)
                top = self._view(source).resolve(subpath)
                set_owner(built, *(owner or (top.uid, top.gid)))
                built.chmod(stat.S_IMODE(top.mode))
            else:
                if owner is not None:
                    set_owner(built, *owner)
                built.chmod(mode)
            built.rename(path)
        finally:
            remove_tree(built)

    @contextlib.asynccontextmanager
    async def use(self, key: str, *, exclusive: bool) -> AsyncIterator[None]:
        """Hold the volume for a command: exclusively for LOCKED and PRIVATE, else shared."""
        async with self._locks.hold(f"volume {key}", exclusive=exclusive):
            yield

    def keys(self) -> list[str]:
        """The keys of all volumes."""
        return [key for key, _ in self._index.documents("volume")]

    def remove(self, key: str) -> bool:
        """Remove a volume unless it is in use; returns whether it was removed."""
        lock = self._locks.path(f"volume {key}")
        held = try_lock(lock)
        if held is None:
            return False
        try:
            trash = self._scratch / f"v{secrets.token_hex(6)}"
            with contextlib.suppress(FileNotFoundError):
                self.path(key).rename(trash)
            self._index.delete("volume", key)
            remove_tree(trash)
        finally:
            release(lock, held)
        return True


async def _never(_: bool) -> Snapshot:
    raise AssertionError("a volume's content is not published as a layer")
