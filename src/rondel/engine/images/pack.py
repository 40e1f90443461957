"""Overlay layer directories as the tar stream of one image layer, the same bytes for the same content.

Entries are sorted, owners are numbers, times are whole seconds, and overlayfs's
marks become ``.wh.`` entries. Several layers can be packed as one: an image has
at most 127, a long chain of commands has more.
"""
# Tens of thousands of entries a layer: texts and system calls, no path objects.
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.engine.images.members import OWNER_ATTRIBUTE
from rondel.engine.images.unpack import OPAQUE, OPAQUE_ATTRIBUTE, WHITEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rondel.engine.images.compression import Sink

_BLOCK = 512
_RECORD = 20 * _BLOCK
_COPY = 1 << 20
_KEPT_ATTRIBUTES = ("user.", "security.capability")
_OWN_ATTRIBUTES = ("user.overlay.", "user.rondel.")


@dataclass(frozen=True, slots=True)
class Tree:
    """What is packed: layer directories from bottom to top, and what is grafted in.

    ``grafts`` maps a path of the image to a host directory that shows there,
    below the layers; ``hidden`` are paths of grafts that stay out; times after ``latest``
    (seconds since the epoch) become it.
    """

    layers: Sequence[Path]
    grafts: Mapping[str, Path] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    latest: int | None = None


def pack(tree: Tree, sink: Sink) -> None:
    """Write the tree as a plain tar to ``sink``."""
    links: dict[tuple[int, int], str] = {}
    written = 0
    for item in _items(tree):
        written += _write_item(item, links, sink, tree.latest)
    padding = -(written + 2 * _BLOCK) % _RECORD
    sink.write(bytes(2 * _BLOCK + padding))


@dataclass(frozen=True, slots=True)
class _Item:
    path: str  # relative to the root, no leading slash; "" for the root
    real: str
    status: os.stat_result
    opaque: bool = False


def _items(tree: Tree) -> Iterator[_Item]:
    roots = [os.fspath(layer) for layer in tree.layers]
    grafts = {path.strip("/"): os.fspath(host) for path, host in tree.grafts.items()}
    hidden = frozenset(path.strip("/") for path in tree.hidden)
    yield from _merge("", roots, grafts, hidden, implied=False)


def _merge(
    path: str, sources: list[str], grafts: Mapping[str, str], hidden: frozenset[str], *, implied: bool
) -> Iterator[_Item]:
    """A directory and what is below it, merged from ``sources`` (bottom to top), depth first and sorted."""
    graft = grafts.get(path)
    if graft is not None:
        sources = [graft, *sources]
    opaque = any(_is_opaque(source) for source in sources)
    for position in range(len(sources) - 1, 0, -1):
        if _is_opaque(sources[position]):
            sources = sources[position:]
            break
    if sources and (path or not implied):
        yield _Item(path, sources[-1], os.lstat(sources[-1]), opaque)
    names: dict[str, list[str]] = {}
    for source in sources:
        for name in _listed(source):
            names.setdefault(name, []).append(f"{source}/{name}")
    below = f"{path}/" if path else ""
    for name in {g[len(below) :].split("/")[0] for g in grafts if g.startswith(below) and g != path}:
        names.setdefault(name, [])
    for name in sorted(names):
        inner = below + name
        if inner not in hidden:
            yield from _merge_name(inner, names[name], grafts, hidden)


def _listed(folder: str) -> list[str]:
    """The names in a directory; none where a host's is closed to us, as it is to every container here."""
    try:
        return os.listdir(folder)
    except PermissionError:
        return []


def _merge_name(
    path: str, candidates: list[str], grafts: Mapping[str, str], hidden: frozenset[str]
) -> Iterator[_Item]:
    directories: list[str] = []
    hides_lower = False
    for candidate in reversed(candidates):
        status = os.lstat(candidate)
        if stat.S_ISDIR(status.st_mode):
            directories.insert(0, candidate)
            continue
        if not directories:
            yield _Item(path, candidate, status)
            return
        # A directory over a file or a whiteout: nothing of the layers further down shows in it.
        hides_lower = True
        break
    merged = _merge(path, directories, grafts, hidden, implied=not directories)
    if hides_lower:
        first = next(merged)
        yield _Item(first.path, first.real, first.status, opaque=True)
    yield from merged


def _write_item(item: _Item, links: dict[tuple[int, int], str], sink: Sink, latest: int | None = None) -> int:
    status = item.status
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        parent, name = posixpath.split(item.path)
        return _emit(_blank(posixpath.join(parent, WHITEOUT + name)), sink)
    info = tarfile.TarInfo(item.path or ".")
    info.mtime = int(status.st_mtime if latest is None else min(status.st_mtime, latest))
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid = _owner(item)
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        written = _emit(info, sink, _attributes(item.real))
        if item.opaque:
            written += _emit(_blank(posixpath.join(item.path, OPAQUE)), sink)
        return written
    if stat.S_ISLNK(status.st_mode):
        info.type, info.mode = tarfile.SYMTYPE, 0o777
        info.linkname = os.readlink(item.real)
        return _emit(info, sink)
    if stat.S_ISFIFO(status.st_mode):
        info.type = tarfile.FIFOTYPE
        return _emit(info, sink)
    if not stat.S_ISREG(status.st_mode):
        return 0  # sockets and devices have no place in an image
    if status.st_nlink > 1:
        first = links.setdefault((status.st_dev, status.st_ino), item.path)
        if first != item.path:
            info.type, info.linkname = tarfile.LNKTYPE, first
            return _emit(info, sink)
    if not os.access(item.real, os.R_OK):
        return 0  # the host's own secret
    info.size = status.st_size
    return _emit(info, sink, _attributes(item.real)) + _copy(item.real, info.size, sink)


def _copy(path: str, size: int, sink: Sink) -> int:
    """Exactly ``size`` bytes of the file, and the padding to a whole block."""
    left = size
    with open(path, "rb", buffering=0) as source:
        while left and (data := source.read(min(left, _COPY))):
            sink.write(data)
            left -= len(data)
    while left:  # the file shrank while it was read: only a host file can
        sink.write(bytes(min(left, _COPY)))
        left -= min(left, _COPY)
    padding = -size % _BLOCK
    sink.write(bytes(padding))
    return size + padding


def _emit(info: tarfile.TarInfo, sink: Sink, attributes: Mapping[str, str] | None = None) -> int:
    if attributes:
        info.pax_headers = dict(attributes)
    header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    sink.write(header)
    return len(header)


def _blank(path: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode = 0
    return info


def _owner(item: _Item) -> tuple[int, int]:
    try:
        told = os.getxattr(item.real, OWNER_ATTRIBUTE, follow_symlinks=False)
        uid, _, gid = told.decode().partition(":")
        return int(uid), int(gid)
    except (OSError, ValueError):
        return item.status.st_uid, item.status.st_gid


def _attributes(real: str) -> dict[str, str]:
    try:
        names = os.listxattr(real, follow_symlinks=False)
        return {
            f"SCHILY.xattr.{name}": os.getxattr(real, name, follow_symlinks=False).decode(
                "utf-8", "surrogateescape"
            )
            for name in sorted(names)
            if name.startswith(_KEPT_ATTRIBUTES) and not name.startswith(_OWN_ATTRIBUTES)
        }
    except OSError:
        return {}


def _is_opaque(real: str) -> bool:
    try:
        return os.getxattr(real, OPAQUE_ATTRIBUTE, follow_symlinks=False) == b"y"
    except OSError:
        return False
