"""Directories and files of the host: read once, identified by their content.

A tree's key is the digest of its names, modes, links and file contents; times don't count.
A stat cache in the store remembers the digest of each file by its size, times and inode, so
that an unchanged tree is not read again. A tree with few changes becomes its previous
snapshot plus one layer.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio.to_thread

from rondel.engine.evaluate.filters import Filter, State, is_ignored, walk
from rondel.engine.evaluate.operations import edited, operation
from rondel.engine.store import OperationResult, Snapshot
from rondel.engine.values import Fs, Node, digest_of
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.engine.evaluate.session import Session

Stamp = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode
# A file that changed this shortly before it was read may change again with the same timestamp.
_RACY_NS = 20_000_000
_SMALL = 64 * 1024


class _Host(NamedTuple):
    """One entry of a host directory."""

    name: str
    path: str
    mode: int
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class ScannedTree:
    """A scanned host directory: for each path its mode and a digest (files), target (links) or ""."""

    root: str
    entries: dict[str, tuple[int, str]]
    key: str


async def host_directory(
    session: Session, root: Path, include: Sequence[str], exclude: Sequence[str], *, gitignore: bool
) -> Fs:
    """The current content of a host directory. Raises EngineError if it is not a directory."""
    chosen = Filter(include, exclude, gitignore=gitignore)
    tree = await anyio.to_thread.run_sync(_scan_tree, session, str(root), chosen)
    series = digest_of("host", str(root), list(include), list(exclude), gitignore)
    node = Node("host", tree.key, params=(tree, series))
    await session.run(node)
    return Fs(Node("host", tree.key))


async def host_file(session: Session, path: Path) -> tuple[Fs, str]:
    """The current content of a host file, as a file system with this one file, and its path there.

    A link is followed; the content of its target appears under the link's name.
    """
    real, tree = await anyio.to_thread.run_sync(_scan_file, str(path))
    node = Node("host", tree.key, params=(tree, ""))
    await session.run(node)
    fs = Fs(Node("host", tree.key))
    if real == path.name:
        return fs, f"/{real}"
    return edited("file.copy", None, f"/{path.name}", f"/{real}", None, "", inputs=(fs,)), f"/{path.name}"


def _scan_file(path: str) -> tuple[str, ScannedTree]:
    """The file's real name, and the tree that contains only this file."""
    name = os.path.basename(path)
    try:
        found = os.stat(path)
        real = os.path.realpath(path, strict=True)
    except OSError as error:
        raise EngineError(f"stat {name}: {(error.strerror or '').lower()}") from None
    if stat.S_ISDIR(found.st_mode):
        raise EngineError(f"path {name} is a directory, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise EngineError(f"path {name} is not a regular file")
    entries = {os.path.basename(real): (stat.S_IMODE(found.st_mode), _digest(real))}
    return os.path.basename(real), ScannedTree(os.path.dirname(real), entries, _key(0o755, entries))


def _scan_tree(session: Session, root: str, chosen: Filter) -> ScannedTree:
    real = os.path.realpath(root)
    try:
        top = os.lstat(real)
    except OSError as error:
        raise EngineError(f"eval symlinks: lstat {root}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISDIR(top.st_mode):
        raise EngineError(f"stat {root}: not a directory")
    above = _ignore_files_above(real) if chosen.gitignore else []
    if is_ignored(above):
        raise EngineError(
            f"{os.path.basename(real)}: no such file or directory",
            why="a .gitignore above it leaves it out, and gitignore is asked for",
        )
    cache = _StatCache(session, real)

    def scan(prefix: str) -> list[_Host]:
        return _list(os.path.join(real, prefix) if prefix else real)

    def read_ignore(prefix: str) -> str | None:
        try:
            return Path(real, prefix, ".gitignore").read_text("utf-8", "replace")
        except OSError:
            return None

    state: State = chosen.root(above)
    entries: dict[str, tuple[int, str]] = {}
    for path, found in walk(chosen, state, scan, _is_dir, read_ignore):
        described = _describe(path, found, cache)
        if described is not None:
            entries[path] = described
    cache.save()
    return ScannedTree(real, entries, _key(stat.S_IMODE(top.st_mode), entries))


def _is_dir(entry: _Host) -> bool:
    return stat.S_ISDIR(entry.mode)


def _list(path: str) -> list[_Host]:
    """A directory's entries; an entry that disappears while it is read counts as missing."""
    found: list[_Host] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    s = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                stamp = (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
                found.append(_Host(entry.name, entry.path, s.st_mode, stamp))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EngineError(f"open {path}: {(error.strerror or '').lower()}") from None
    found.sort(key=lambda entry: entry.name)
    return found


def _describe(path: str, entry: _Host, cache: _StatCache) -> tuple[int, str] | None:
    """What a tree's key contains of an entry; None for sockets, devices, pipes and vanished entries."""
    mode = entry.mode & 0o7777
    try:
        if stat.S_ISREG(entry.mode):
            return mode, cache.digest(path, entry)
        if stat.S_ISLNK(entry.mode):
            return mode | stat.S_IFLNK, os.readlink(entry.path)
    except FileNotFoundError:
        return None
    return (mode | stat.S_IFDIR, "") if stat.S_ISDIR(entry.mode) else None


def _key(top_mode: int, entries: dict[str, tuple[int, str]]) -> str:
    digest = hashlib.blake2b(f"host {top_mode:o}\n".encode(), digest_size=20)
    for path, (mode, what) in entries.items():
        digest.update(f"{mode:o} {path}\0{what}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _digest(path: str) -> str:
    # Most files are small: allocating the buffer of file_digest, 256 KiB, would cost more than reading them.
    with open(path, "rb", buffering=0) as file:
        start = file.read(_SMALL)
        if len(start) < _SMALL:
            return hashlib.sha256(start).hexdigest()
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ignore_files_above(root: str) -> list[tuple[str, str]]:
    """The .gitignore files between a repository's top and a directory in it, outermost first.

    Each with the directory's path relative to the file. Empty outside of a repository.
    """
    found: list[tuple[str, str]] = []
    holder = root
    while True:
        if os.path.exists(os.path.join(holder, ".git")):
            return found[::-1]
        parent = os.path.dirname(holder)
        if parent == holder:
            return []
        holder = parent
        try:
            text = Path(holder, ".gitignore").read_text("utf-8", "replace")
        except OSError:
            continue
        found.append((os.path.relpath(root, holder), text))


class _StatCache:
    """Digests of files by their ``stat`` data, for one root."""

    def __init__(self, session: Session, root: str) -> None:
        self._index = session.store.index
        self._root = digest_of("stat", root)
        self._known: dict[str, Any] = self._index.get("stat", self._root) or {}
        self._seen: dict[str, Any] = {}
        self._fresh = False

    def digest(self, path: str, entry: _Host) -> str:
        """The digest of a file's content; reads the file only if its ``stat`` data are new."""
        known = self._known.get(path)
        if known is not None and tuple(known[0]) == entry.stamp:
            self._seen[path] = known
            return str(known[1])
        started = time.time_ns()
        try:
            digest = _digest(entry.path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise EngineError(f"open {entry.path}: {(error.strerror or '').lower()}") from None
        if max(entry.stamp[1], entry.stamp[2]) < started - _RACY_NS:
            self._seen[path] = (entry.stamp, digest)
            self._fresh = True
        return digest

    def save(self) -> None:
        """Save new digests; writes nothing for an unchanged tree."""
        if self._fresh:
            self._index.put("stat", self._root, self._known | self._seen)


@operation("host")
async def ingest(session: Session, node: Node) -> OperationResult:
    """Copy a scanned tree into the store, over the previous snapshot of the same root if there is one."""
    if node.params is None:
        raise EngineError("the host directory's content is no longer in the store; read it again")
    tree, series = node.params
    former = session.store.index.get("host", series) if series else None
    base = session.store.result(former["key"]) if former else None
    if former is None or base is None or len(base.snapshot.layers) > 8:
        snapshot = await _copy(session, tree, Snapshot(), {})
    else:
        snapshot = await _copy(session, tree, base.snapshot, former["entries"])
    if series:
        session.store.index.put("host", series, {"key": node.key, "entries": tree.entries})
    return session.result(snapshot)


async def _copy(session: Session, tree: ScannedTree, base: Snapshot, former: dict[str, Any]) -> Snapshot:
    """The tree as a layer over a base that contains ``former``."""
    changed = [path for path, what in tree.entries.items() if tuple(former.get(path, ())) != what]
    gone = [path for path in former if path not in tree.entries]

    def work() -> None:
        for path in gone:
            holder = os.path.dirname(path)
            if not holder or holder in tree.entries:
                draft.remove("/" + path)
        for path in changed:
            if path in former and (former[path][0] ^ tree.entries[path][0]) & 0o170000:
                draft.remove("/" + path)
        draft.copy_host(Path(tree.root), changed, "/")

    async with session.store.draft(base) as draft:
        await anyio.to_thread.run_sync(work)
        return await draft.commit()
