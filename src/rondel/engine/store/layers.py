"""Publishes layers and merges many small ones into one.

A chain of commands makes a chain of small layers, and a mount accepts only so
many. As in a log-structured store, a run of neighbouring small layers is merged
into one with hard links; runs of merged ones are merged in turn, so each file is
linked a logarithmic number of times however long the chain is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.engine.store.files import set_owner, write_new
from rondel.engine.store.view import OPAQUE, is_opaque, is_whiteout

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rondel.engine.store.index import Index

MOST_LAYERS = 24
_BYTES = ("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a layer: bytes on disk, names in it, and a digest that identifies it."""

    bytes: int
    entries: int
    digest: str


def plan_merge(entries: Sequence[int], *, most: int = MOST_LAYERS, least: int = 8) -> tuple[int, int] | None:
    """Which layers to merge, as a half-open range; None if at most ``most`` are left anyway.

    ``entries`` counts the names in each layer, bottom to top. Layer 0 is never merged, because it
    may be a base image's or represent host directories. Of all runs of at least ``least``
    neighbours, this picks the one with the fewest names per removed layer. In a chain of 500 equal
    layers that links every name 3.2 times, in one of 2,000 it is 9.6.
    """
    excess = len(entries) - most
    if excess <= 0 or len(entries) < 3:
        return None
    sums = [0, *itertools.accumulate(entries)]
    narrowest = min(max(least, excess + 1), len(entries) - 1)
    runs = (
        (start, start + width)
        for width in range(narrowest, len(entries))
        for start in range(1, len(entries) - width + 1)
    )
    return min(runs, key=lambda run: (sums[run[1]] - sums[run[0]] + run[1] - run[0]) / (run[1] - run[0] - 1))


class Layers:
    """The folder of layers and their rows in the index."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self._index = index
        self._sizes: dict[str, int] = {}

    def path(self, layer: str) -> Path:
        """A layer's directory."""
        return self.folder / layer

    def publish(self, built: Path) -> str:
        """Move a finished tree into place; returns the new layer's ID."""
        size = measure(built)
        layer = secrets.token_hex(4)
        while (self.folder / layer).exists():
            layer = secrets.token_hex(5)
        with self._index.transaction():
            self._index.put("layer", layer, {"made": time.time(), "digest": size.digest})
            self._index.add("layer", layer, size=size.bytes, entries=size.entries)
        os.rename(built, self.folder / layer)
        self._sizes[layer] = size.entries
        return layer

    def alive(self, layers: Iterable[str]) -> bool:
        """Whether all of these exist, also on disk; marks them as used. One that is gone is forgotten."""
        names = list(layers)
        gone = [name for name in names if not os.path.isdir(f"{self.folder}/{name}")]
        if gone:
            self._index.remove("layer", gone)
        return not gone and self._index.alive("layer", names)

    def damage(self, layer: str, *, deep: bool) -> str:
        """What is wrong with a layer, compared with its record; empty if nothing is.

        ``deep`` also compares contents. They are recorded by the first such check: hashing them
        for every command would take too long.
        """
        known = self._index.get("layer", layer) or {}
        try:
            if known and measure(self.path(layer)).digest != known["digest"]:
                return "its files are not those that were recorded"
            if deep:
                contents = measure(self.path(layer), contents=True).digest
                if known.get("contents", contents) != contents:
                    return "the contents of its files are not those that were recorded"
                self._index.put("layer", layer, known | {"contents": contents})
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        return ""

    def entries(self, layer: str) -> int:
        """How many names a layer has."""
        if layer not in self._sizes:
            row = self._index.object("layer", layer)
            self._sizes[layer] = row.entries if row else 0
        return self._sizes[layer]

    def merge(self, layers: Sequence[str], scratch: Path) -> str:
        """One layer with the merged content of these neighbours (bottom to top)."""
        key = ",".join(layers)
        known = self._index.get("merged", key)
        if known is not None and self.alive([known]):
            return str(known)
        scratch.mkdir(mode=0o700)
        merge_trees([str(self.path(layer)) for layer in reversed(layers)], str(scratch))
        merged = self.publish(scratch)
        self._index.put("merged", key, merged)
        return merged


def measure(root: Path, *, contents: bool = False) -> Size:
    """Measure a tree. A file with several names counts once per name.

    The digest is that of names, types, owners, modes, sizes and times, and with ``contents`` also
    that of what files and links contain. Whatever a copy or a new link of the tree changes
    is left out.
    """
    total, entries, digest = 4096, 0, hashlib.sha256()
    waiting = [str(root)]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            items = sorted(found, key=lambda item: item.name)
        for item in items:
            entries += 1
            status = item.stat(follow_symlinks=False)
            what = f"{status.st_mode:o} {status.st_uid} {status.st_gid} {status.st_rdev} {status.st_mtime_ns}"
            if stat.S_ISDIR(status.st_mode):
                waiting.append(item.path)
                total += 4096
            else:
                total += status.st_blocks * 512
                what += f" {status.st_size}"
            name = item.path.removeprefix(f"{root}/")
            digest.update(
                f"{name}\0{what}{_contents(item.path, status) if contents else ''}\0".encode(*_BYTES)
            )
    return Size(total, entries, digest.hexdigest())


def _contents(path: str, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return f" {os.readlink(path)}"
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            return f" {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return f" {is_opaque(path)}"


def merge_trees(tops: Sequence[str], target: str) -> None:
    """Merge layer directories (top to bottom) into the existing directory ``target`` by hard links.

    Whiteouts and opaque marks stay, because they hide something in the layers below.
    """
    if any(is_opaque(folder) for folder in tops):
        tops = tops[: 1 + next(i for i, folder in enumerate(tops) if is_opaque(folder))]
        os.setxattr(target, OPAQUE, b"y")
    seen: set[str] = set()
    for index, folder in enumerate(tops):
        with os.scandir(folder) as found:
            names = [item.name for item in found if item.name not in seen]
        seen.update(names)
        for name in names:
            _merge_name(f"{target}/{name}", [f"{other}/{name}" for other in tops[index:]])
    copy_metadata(tops[0], target)


def _merge_name(target: str, candidates: Sequence[str]) -> None:
    top = os.lstat(candidates[0])
    if not stat.S_ISDIR(top.st_mode):
        link_or_copy(candidates[0], target, top)
        return
    folders, hides = [candidates[0]], False
    for candidate in candidates[1:]:
        if is_opaque(folders[-1]):
            break
        try:
            status = os.lstat(candidate)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(status.st_mode):
            hides = True
            break
        folders.append(candidate)
    os.mkdir(target, 0o700)
    merge_trees(folders, target)
    if hides:
        times = os.lstat(target)
        os.setxattr(target, OPAQUE, b"y")
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def link_or_copy(source: str, target: str, status: os.stat_result) -> None:
    """Create another name for a layer's file; a copy if the file system allows no more links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EPERM, errno.EXDEV):
            raise
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), target)
            set_owner(target, status.st_uid, status.st_gid)
        elif is_whiteout(status):
            whiteout(target)
        elif stat.S_ISREG(status.st_mode):
            write_new(
                target,
                source,
                mode=status.st_mode,
                uid=status.st_uid,
                gid=status.st_gid,
                mtime_ns=status.st_mtime_ns,
            )


def whiteout(path: str) -> None:
    """Hide what the layers below have under this name. A device 0:0 needs no privilege."""
    os.mknod(path, stat.S_IFCHR | 0o000, os.makedev(0, 0))


def copy_metadata(source: str, target: str) -> None:
    """Give a directory the owner, mode and times of another."""
    status = os.lstat(source)
    if status.st_uid or status.st_gid:
        set_owner(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(PermissionError):
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
