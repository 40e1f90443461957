"""The store's contract; the parts move into modules of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rondel.engine.store.model import Entry, Output, Result, Snapshot


class Blobs:
    """Immutable files by their digest, ``sha256:<hex>``."""

    def put(self, data: bytes | Path | BinaryIO, *, expected: str | None = None) -> str:
        """Keep the bytes and return their digest; StoreCorrupt if it is not ``expected``."""
        raise NotImplementedError

    def writer(self) -> Any:
        """A context manager to write a blob piece by piece: ``write(bytes)``, ``commit(expected) -> digest``."""
        raise NotImplementedError

    def has(self, digest: str) -> bool:
        """Whether the blob is here; marks it as used."""
        raise NotImplementedError

    def path(self, digest: str) -> Path:
        """The blob's file (never to be changed); StoreCorrupt when missing or of the wrong size."""
        raise NotImplementedError

    def read(self, digest: str) -> bytes:
        """The blob's bytes, verified."""
        raise NotImplementedError


class Index:
    """Small JSON documents by kind and key; safe from any thread and several processes."""

    def get(self, kind: str, key: str) -> Any | None:
        """The document, or None; marks it as used."""
        raise NotImplementedError

    def put(self, kind: str, key: str, document: Any) -> None:
        """Write or replace a document."""
        raise NotImplementedError

    def delete(self, kind: str, key: str) -> None:
        """Forget a document, if it is there."""
        raise NotImplementedError


class Volumes:
    """Cache volumes: writable folders that outlive sessions."""

    async def prepare(
        self, key: str, *, source: Snapshot | None = None, subpath: str = "/", owner: tuple[int, int] | None = None
    ) -> Path:
        """The volume's folder; made at the first call, as a copy of ``source`` and owned by ``owner``."""
        raise NotImplementedError

    def use(self, key: str, *, exclusive: bool) -> AbstractAsyncContextManager[None]:
        """Hold the volume for a command: exclusive for LOCKED and PRIVATE, else shared."""
        raise NotImplementedError


class View:
    """A snapshot's merged tree, read only. Symbolic links never lead out of it."""

    def lookup(self, path: str, *, follow: bool = True) -> Entry | None:
        """The entry at a path, or None; ``follow`` is about the last part only."""
        raise NotImplementedError

    def resolve(self, path: str, *, follow: bool = True) -> Entry:
        """The entry at a path; PathError with Go's words when it is not there."""
        raise NotImplementedError

    def scandir(self, path: str = "/") -> list[Entry]:
        """A directory's entries, sorted by name; PathError when it is none."""
        raise NotImplementedError

    def walk(self, path: str = "/") -> Iterator[Entry]:
        """All entries below a directory, parents first, sorted, without following links."""
        raise NotImplementedError

    def open(self, path: str) -> BinaryIO:
        """A regular file's content; PathError when it is none."""
        raise NotImplementedError

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        """A regular file's bytes, at most ``limit`` of them."""
        raise NotImplementedError

    def real_lowers(self, path: str = "/") -> list[Path]:
        """The directories, bottom to top, whose overlay shows this directory."""
        raise NotImplementedError


class Draft:
    """A layer under construction over a snapshot; every method may run in any one thread at a time.

    Paths are container paths; links in their directories are followed inside
    the root; missing parents are made with mode 0755, owned by root.
    ``view`` shows the base with what was done so far.
    """

    view: View

    def write(
        self,
        path: str,
        data: bytes | Path,
        *,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        mtime_ns: int | None = None,
        link_ok: bool = False,
    ) -> None:
        """Put a file, in place of whatever is there."""
        raise NotImplementedError

    def mkdir(
        self, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime_ns: int | None = None
    ) -> None:
        """Make a directory, or set the metadata of the one that is there."""
        raise NotImplementedError

    def symlink(
        self, target: str, path: str, *, uid: int = 0, gid: int = 0, mtime_ns: int | None = None
    ) -> None:
        """Put a symbolic link, in place of whatever is there."""
        raise NotImplementedError

    def hardlink(self, target: str, path: str) -> None:
        """Put another name of an existing file (image layers have them)."""
        raise NotImplementedError

    def remove(self, path: str) -> bool:
        """Remove what is there, directories with all in them; whether there was anything."""
        raise NotImplementedError

    def opaque(self, path: str) -> None:
        """Hide everything the base has in this directory (image layers ask for it)."""
        raise NotImplementedError

    def set_meta(
        self,
        path: str,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        """Change the metadata of what is there; the last part's link is not followed."""
        raise NotImplementedError

    def copy_tree(
        self,
        source: View,
        src: str,
        dst: str,
        *,
        keep: Callable[[str, Entry], bool] | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mode: int | None = None,
    ) -> None:
        """Copy a directory's content, or a file, merging into what is there.

        ``keep`` gets the path relative to ``src`` and the entry; a directory
        it refuses is not entered.
        """
        raise NotImplementedError

    def copy_host(
        self,
        root: Path,
        entries: Iterable[str],
        dst: str,
        *,
        uid: int | None = 0,
        gid: int | None = 0,
    ) -> None:
        """Copy files of the host, named relative to ``root`` (parents first), below ``dst``."""
        raise NotImplementedError

    async def commit(self) -> Snapshot:
        """Publish the layer at once and as a whole; the base itself if nothing was done."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the store holds, in bytes and counts."""

    layers: int
    layer_bytes: int
    blobs: int
    blob_bytes: int
    volumes: int
    volume_bytes: int
    results: int
    free_bytes: int


class Store:
    """One directory shared by all sessions of one user."""

    root: Path
    blobs: Blobs
    index: Index
    volumes: Volumes

    @classmethod
    def open(cls, root: Path | None = None) -> Store:
        """Open or make the store; sweeps what dead sessions left.

        ``root`` defaults to ``$RONDEL_ENGINE_HOME``, else ``rondel/engine`` in
        the XDG cache directory. Raises StoreFull, StoreReadOnly, StoreTooNew.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End this session: its temporary files go, what it recorded is made durable."""
        raise NotImplementedError

    def view(self, snapshot: Snapshot) -> View:
        """The merged tree of a snapshot."""
        raise NotImplementedError

    def draft(self, base: Snapshot) -> AbstractAsyncContextManager[Draft]:
        """Build one layer over a snapshot: ``async with store.draft(base) as draft``."""
        raise NotImplementedError

    async def compact(self, snapshot: Snapshot) -> Snapshot:
        """The same file system in few enough layers to be mounted."""
        raise NotImplementedError

    def result(self, digest: str) -> Result | None:
        """What is known of an operation, if all it stands on is still here."""
        raise NotImplementedError

    def record(self, digest: str, result: Result) -> None:
        """Remember durably what an operation came to."""
        raise NotImplementedError

    def forget(self, digest: str) -> None:
        """Drop a result."""
        raise NotImplementedError

    def lock(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold a lock across tasks and sessions; freed by the kernel if we are killed."""
        raise NotImplementedError

    def read(self, output: Output) -> bytes:
        """All of an output's bytes."""
        raise NotImplementedError

    def tail(self, output: Output, limit: int) -> bytes:
        """The last bytes of an output."""
        raise NotImplementedError

    async def export(self, view: View, src: str, dest: Path, *, wipe: bool = False) -> None:
        """Write a directory's content, or a file, to the host; never through a link of the tree."""
        raise NotImplementedError

    def usage(self) -> Usage:
        """What the store holds."""
        raise NotImplementedError

    async def collect(self, budget: int) -> int:
        """Remove the least recently used until at most ``budget`` bytes are held; the bytes freed."""
        raise NotImplementedError
