"""Packs overlay layer directories as the tar stream of one image layer, reproducibly.

Entries are sorted, owners are numbers, times are whole seconds, and overlayfs's
marks become ``.wh.`` entries. Several layers can be packed as one, because an image has
at most 127 and a long chain of commands has more.
"""
# Tens of thousands of entries per layer: strings and system calls are faster than path objects.
# ruff: noqa: PTH115, PTH208

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import tarfile
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.engine.images.chunked import AHEAD, ChunkedWriter
from rondel.engine.images.layer_files import OWNER_ATTRIBUTE, is_whiteout
from rondel.engine.images.tarheader import ending, header, padding
from rondel.engine.images.unpack import OPAQUE, OPAQUE_ATTRIBUTE, WHITEOUT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from rondel.engine.images.chunked import ByteSink

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_AHEAD = 64
_BYTES_AHEAD = 16 << 20
_KEPT_ATTRIBUTES = ("user.", "security.capability")
_OWN_ATTRIBUTES = ("user.overlay.", "user.rondel.")


@dataclass(frozen=True, slots=True)
class LayerStack:
    """What to pack: layer directories from bottom to top, and grafts.

    ``grafts`` maps a path of the image to a host directory that appears there,
    below the layers; ``hidden`` are paths of grafts to leave out; times after ``latest``
    (seconds since the epoch) become ``latest``.
    """

    layers: Sequence[Path]
    grafts: Mapping[str, Path] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    latest: int | None = None


def pack(tree: LayerStack, sink: ByteSink) -> None:
    """Write the tree as a plain tar to ``sink``, in large chunks."""
    walk = _Walk(tree)
    writing = _Writing(walk, ChunkedWriter(sink), tree.latest)
    with contextlib.closing(_opened(walk)) as items:
        for item, handle in items:
            writing.add(item, handle)
    writing.finish()


@dataclass(frozen=True, slots=True)
class _Item:
    path: str  # relative to the root, no leading slash; "" for the root
    real: str
    status: os.stat_result
    opaque: bool = False  # in addition to the layer's own attribute


class _Walk:
    """The entries of a tree, depth first and sorted."""

    def __init__(self, tree: LayerStack) -> None:
        self._roots = [os.fspath(layer) for layer in tree.layers]
        self._grafts = {path.strip("/"): os.fspath(host) for path, host in tree.grafts.items()}
        self._hidden = frozenset(path.strip("/") for path in tree.hidden)

    def items(self) -> Iterator[_Item]:
        """All entries, the root first."""
        yield from self._merge("", self._roots, implied=False)

    def may_vanish(self, real: str) -> bool:
        """Whether it is on the host, whose files may change at the same time."""
        return any(real.startswith(f"{host}/") for host in self._grafts.values())

    def _merge(self, path: str, sources: list[str], *, implied: bool) -> Iterator[_Item]:
        """A directory and everything below it, merged from ``sources`` (bottom to top)."""
        graft = self._grafts.get(path)
        if graft is not None:
            sources = [graft, *sources]
        below = f"{path}/" if path else ""
        grafted = {g[len(below) :].split("/")[0] for g in self._grafts if g.startswith(below) and g != path}
        if len(sources) == 1 and not grafted:
            if (path or not implied) and (status := self._status(sources[0])) is not None:
                yield _Item(path, sources[0], status)
            yield from self._only(below, sources[0])
            return
        opaque = any(_is_opaque(source) for source in sources)
        for position in range(len(sources) - 1, 0, -1):
            if _is_opaque(sources[position]):
                sources = sources[position:]
                break
        if sources and (path or not implied) and (status := self._status(sources[-1])) is not None:
            yield _Item(path, sources[-1], status, opaque)
        names: dict[str, list[str]] = {name: [] for name in grafted}
        for source in sources:
            for name in self._listed(source):
                names.setdefault(name, []).append(f"{source}/{name}")
        for name in sorted(names):
            if below + name not in self._hidden:
                yield from self._merge_name(below + name, names[name])

    def _only(self, below: str, folder: str) -> Iterator[_Item]:
        """The content of a directory that only one layer has, as most are."""
        for name in sorted(self._listed(folder)):
            path, real = below + name, f"{folder}/{name}"
            if path in self._hidden or (status := self._status(real)) is None:
                continue
            yield _Item(path, real, status)
            if stat.S_ISDIR(status.st_mode):
                yield from self._only(f"{path}/", real)

    def _merge_name(self, path: str, candidates: list[str]) -> Iterator[_Item]:
        directories: list[str] = []
        hides_lower = False
        for candidate in reversed(candidates):
            status = self._status(candidate)
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode):
                directories.insert(0, candidate)
                continue
            if not directories:
                yield _Item(path, candidate, status)
                return
            # A directory over a file or a whiteout hides the content of the layers further down.
            hides_lower = True
            break
        merged = self._merge(path, directories, implied=not directories)
        if hides_lower and (first := next(merged, None)) is not None:
            yield _Item(first.path, first.real, first.status, opaque=True)
        yield from merged

    def _status(self, real: str) -> os.stat_result | None:
        try:
            return os.lstat(real)
        except FileNotFoundError:
            if self.may_vanish(real):
                return None
            raise

    def _listed(self, folder: str) -> list[str]:
        """The names in a directory; none in a host directory that is closed to containers, too."""
        try:
            return os.listdir(folder)
        except PermissionError:
            return []
        except FileNotFoundError:
            if self.may_vanish(folder):
                return []
            raise


def _opened(walk: _Walk) -> Generator[tuple[_Item, int]]:
    """The entries, files with a descriptor that is open until the next entry; else -1.

    The kernel is asked to read some files ahead: on a slow disk, many small files then take no
    longer than their bytes in one file.
    """
    waiting: deque[tuple[_Item, int]] = deque()
    announced = 0
    try:
        for item in walk.items():
            handle = _open(item, walk) if stat.S_ISREG(item.status.st_mode) else -1
            waiting.append((item, handle))
            announced += _ahead(item)
            while len(waiting) > _MOST_AHEAD or announced > _BYTES_AHEAD:
                announced -= _ahead(waiting[0][0])
                yield from _closing(waiting.popleft())
        while waiting:
            yield from _closing(waiting.popleft())
    finally:
        for _, handle in waiting:
            if handle >= 0:
                os.close(handle)


def _closing(entry: tuple[_Item, int]) -> Iterator[tuple[_Item, int]]:
    try:
        yield entry
    finally:
        if entry[1] >= 0:
            os.close(entry[1])


def _ahead(item: _Item) -> int:
    return min(item.status.st_size, AHEAD) if stat.S_ISREG(item.status.st_mode) else 0


def _open(item: _Item, walk: _Walk) -> int:
    """A file's descriptor; -1 for an unreadable or vanished file of the host, which is left out."""
    try:
        handle = os.open(item.real, _READ)
    except PermissionError:
        return -1
    except FileNotFoundError:
        if walk.may_vanish(item.real):
            return -1
        raise
    if item.status.st_size:
        os.posix_fadvise(handle, 0, min(item.status.st_size, AHEAD), os.POSIX_FADV_WILLNEED)
    return handle


class _Writing:
    """The entries as a tar stream."""

    def __init__(self, walk: _Walk, target: ChunkedWriter, latest: int | None) -> None:
        self._walk = walk
        self._target = target
        self._latest = latest
        self._links: dict[tuple[int, int], str] = {}

    def add(self, item: _Item, handle: int) -> None:
        """Write an entry; sockets, devices and unreadable files are left out of the image."""
        try:
            self._add(item, handle)
        except FileNotFoundError:
            if not self._walk.may_vanish(item.real):
                raise

    def _add(self, item: _Item, handle: int) -> None:
        kind = stat.S_IFMT(item.status.st_mode)
        if kind == stat.S_IFREG:
            self._file(item, handle)
        elif kind == stat.S_IFDIR:
            self._directory(item)
        elif kind == stat.S_IFLNK:
            self._entry(item, tarfile.SYMTYPE, mode=0o777, link=os.readlink(item.real))
        elif kind == stat.S_IFIFO:
            self._entry(item, tarfile.FIFOTYPE)
        elif is_whiteout(item.status):
            parent, name = posixpath.split(item.path)
            self._mark(posixpath.join(parent, WHITEOUT + name))

    def finish(self) -> None:
        """Write the end of the archive."""
        self._target.zeros(ending(self._target.written))
        self._target.close()

    def _directory(self, item: _Item) -> None:
        known = _attributes(item.real)
        self._entry(item, tarfile.DIRTYPE, known)
        if item.opaque or known.get(OPAQUE_ATTRIBUTE) == b"y":
            self._mark(posixpath.join(item.path, OPAQUE))

    def _file(self, item: _Item, handle: int) -> None:
        if handle < 0:
            return
        status = item.status
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), item.path)
            if first != item.path:
                self._entry(item, tarfile.LNKTYPE, _attributes(handle), link=first)
                return
        self._entry(item, tarfile.REGTYPE, _attributes(handle), size=status.st_size)
        # Exactly as many bytes as in the header; a host's file may have shrunk or grown meanwhile.
        self._target.read(handle, status.st_size)
        self._target.zeros(padding(status.st_size))

    def _entry(
        self,
        item: _Item,
        kind: bytes,
        known: Mapping[str, bytes] | None = None,
        *,
        mode: int | None = None,
        size: int = 0,
        link: str = "",
    ) -> None:
        status = item.status
        mtime = int(status.st_mtime)
        uid, gid = _owner(known, status) if known else (status.st_uid, status.st_gid)
        self._target.write(
            header(
                item.path or ".",
                kind,
                mode=stat.S_IMODE(status.st_mode) if mode is None else mode,
                uid=uid,
                gid=gid,
                size=size,
                mtime=mtime if self._latest is None else min(mtime, self._latest),
                link=link,
                attributes=_kept(known) if known and not link else None,
            )
        )

    def _mark(self, path: str) -> None:
        self._target.write(header(path, tarfile.REGTYPE, mode=0))


def _owner(known: Mapping[str, bytes], status: os.stat_result) -> tuple[int, int]:
    """The recorded owner of a file, or its actual one."""
    try:
        uid, _, gid = known[OWNER_ATTRIBUTE].decode().partition(":")
        return int(uid), int(gid)
    except (KeyError, ValueError):
        return status.st_uid, status.st_gid


def _kept(known: Mapping[str, bytes]) -> dict[str, str]:
    """The extended attributes for an image, as PAX headers."""
    return {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
        for name, value in sorted(known.items())
        if not name.startswith(_OWN_ATTRIBUTES)
    }


def _attributes(real: str | int) -> dict[str, bytes]:
    """The relevant extended attributes of a file or directory; none if they cannot be read."""
    try:
        names = os.listxattr(real)
        return {name: os.getxattr(real, name) for name in names if name.startswith(_KEPT_ATTRIBUTES)}
    except OSError:
        return {}


def _is_opaque(real: str) -> bool:
    try:
        return os.getxattr(real, OPAQUE_ATTRIBUTE, follow_symlinks=False) == b"y"
    except OSError:
        return False
