"""Unpacks a layer's tar stream into an overlay layer directory.

References to the layers below become overlayfs's own marks: a ``.wh.NAME`` entry is a
character device 0:0, ``.wh..wh..opq`` the extended attribute ``user.overlay.opaque``.
Nothing outside the target is ever touched: names are clamped to the root, and a symbolic
link among a name's parents is resolved inside the image, as in a mounted image, even if
the link is in a layer below.
"""
# Tens of thousands of entries per layer: strings and system calls are faster than path objects.
# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH123, PTH211

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import stat
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Protocol

from rondel.engine.images.layer_files import attributes, is_whiteout, lstat, mtime_ns, own, write_all
from rondel.engine.images.model import InvalidImageError

if TYPE_CHECKING:
    from pathlib import Path


WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
OPAQUE_ATTRIBUTE = "user.overlay.opaque"
_MAX_LINKS = 255
_COPY = 1 << 20


class LowerEntry(Protocol):
    """The fields used of an entry in the layers below."""

    @property
    def real(self) -> Path: ...  # noqa: D102
    @property
    def mode(self) -> int: ...  # noqa: D102
    @property
    def uid(self) -> int: ...  # noqa: D102
    @property
    def gid(self) -> int: ...  # noqa: D102
    @property
    def mtime_ns(self) -> int: ...  # noqa: D102
    @property
    def link(self) -> str | None: ...  # noqa: D102


class LayersBelow(Protocol):
    """The merged layers below the one that is being unpacked."""

    def lookup(self, path: str, *, follow: bool = True) -> LowerEntry | None:
        """The entry at this absolute path; None if there is none."""


@dataclass(slots=True)
class Unpacked:
    """The content of an unpacked layer: digest of the plain tar, entries, bytes, and skipped devices."""

    diff_id: str
    entries: int = 0
    size: int = 0
    devices: list[str] = field(default_factory=list)


def unpack(
    stream: IO[bytes], target: Path, lower: LayersBelow | None = None, *, whiteouts: bool = True
) -> Unpacked:
    """Write the plain tar ``stream`` below ``target``, an empty directory; returns its content.

    Device nodes are skipped and listed in the result. Raises :class:`InvalidImageError` for a
    damaged stream; the caller removes what was written by then. Without ``whiteouts`` the
    stream is an ordinary archive, whose ``.wh.`` names have no meaning.
    """
    source = _HashingReader(stream)
    layer = _Layer(target, lower, whiteouts=whiteouts)
    try:
        # Stream mode: one pass, nothing kept. ignore_zeros stays off: what follows the end is padding.
        with tarfile.open(fileobj=source, mode="r|", bufsize=1 << 18, errorlevel=1, encoding="utf-8",  # type: ignore[call-overload]
                          errors="surrogateescape") as archive:  # fmt: skip
            for member in archive:
                layer.add(archive, member)
                archive.members = []
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise InvalidImageError(f"invalid layer: {error}") from error
    layer.finish()
    source.drain()
    return Unpacked(source.digest, layer.entries, layer.size, layer.devices)


class _HashingReader:
    """Passes reads through, and computes the digest of all bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def drain(self) -> None:
        while self.read(_COPY):
            pass

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


class _Layer:
    """A layer directory while it is written; all paths are absolute paths of the image."""

    def __init__(self, target: Path, lower: LayersBelow | None, *, whiteouts: bool) -> None:
        self._whiteouts = whiteouts
        self._root = os.fspath(target)
        self._lower = lower
        self._directories: dict[str, str] = {
            "/": "/"
        }  # requested path → resolved path, which exists in this layer
        self._times: dict[str, int] = {}
        self.entries = 0
        self.size = 0
        self.devices: list[str] = []
        if lower is not None and (root := lower.lookup("/")) is not None:
            self._inherit(self._root, root)

    def real(self, path: str) -> str:
        return self._root + path

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = posixpath.normpath("/" + member.name.lstrip("/"))
        if "\0" in path:
            raise InvalidImageError(f"invalid layer: a name with a null byte: {path!r}")
        self.entries += 1
        if path == "/":
            if member.isdir():
                self._set(self._root, "/", member)
            return
        parent, name = posixpath.split(path)
        parent = self._directory(parent)
        if self._whiteouts and name.startswith(WHITEOUT):
            self._whiteout(parent, name)
            return
        path = posixpath.join(parent, name)
        if member.isdir():
            self._add_directory(path, member)
        elif member.isreg():
            self._add_file(archive, path, member)
        elif member.issym():
            self._clear(path)
            os.symlink(member.linkname, self.real(path))
            self._set(self.real(path), path, member)
        elif member.islnk():
            self._add_link(path, member.linkname)
        elif member.isfifo():
            self._clear(path)
            os.mkfifo(self.real(path), 0o600)
            self._set(self.real(path), path, member)
        else:
            self.devices.append(path)

    def finish(self) -> None:
        """Set the directories' times last: every entry made in one changes its time."""
        for path, time in self._times.items():
            if self._is_own_directory(path):
                os.utime(self.real(path), ns=(time, time), follow_symlinks=False)

    def _is_own_directory(self, path: str) -> bool:
        """Whether it is still a directory of this layer: a later entry may have replaced it by a link."""
        parts = [part for part in path.split("/") if part]
        for number in range(len(parts) + 1):
            try:
                mode = os.lstat(self.real("/" + "/".join(parts[:number]))).st_mode
            except OSError:
                return False
            if not stat.S_ISDIR(mode):
                return False
        return True

    def _whiteout(self, parent: str, name: str) -> None:
        if name == OPAQUE:
            os.setxattr(self.real(parent), OPAQUE_ATTRIBUTE, b"y")
            return
        name = name.removeprefix(WHITEOUT)
        if not name or name in (".", "..") or name.startswith(WHITEOUT):
            return  # bookkeeping of aufs, which is no longer in use
        path = posixpath.join(parent, name)
        real = self.real(path)
        status = lstat(real)
        if status is not None and stat.S_ISDIR(status.st_mode):
            # The layer replaces the directory: hide what is below, keep its own content.
            os.setxattr(real, OPAQUE_ATTRIBUTE, b"y")
        elif status is None:
            os.mknod(real, stat.S_IFCHR | 0o000, os.makedev(0, 0))

    def _add_directory(self, path: str, member: tarfile.TarInfo) -> None:
        real = self.real(path)
        status = lstat(real)
        if status is None or not stat.S_ISDIR(status.st_mode):
            was_whiteout = status is not None and is_whiteout(status)
            self._clear(path)
            os.mkdir(real, 0o755)
            if was_whiteout:
                os.setxattr(real, OPAQUE_ATTRIBUTE, b"y")
        self._directories[path] = path
        self._set(real, path, member)

    def _add_file(self, archive: tarfile.TarFile, path: str, member: tarfile.TarInfo) -> None:
        self._clear(path)
        content = archive.extractfile(member)
        real = self.real(path)
        handle = os.open(real, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if content is not None:
                left = member.size
                while left > 0:
                    data = content.read(min(_COPY, left))
                    if not data:
                        raise InvalidImageError(f"invalid layer: {path} ends too early")
                    write_all(handle, data, sparse=bool(member.sparse))
                    left -= len(data)
                if member.sparse:
                    os.ftruncate(handle, member.size)
        finally:
            os.close(handle)
        self.size += member.size
        self._set(real, path, member)

    def _add_link(self, path: str, target_name: str) -> None:
        target = posixpath.normpath("/" + target_name.lstrip("/"))
        parent, name = posixpath.split(target)
        target = posixpath.join(self._directory(parent), name)
        if target == path:
            return
        if lstat(self.real(target)) is None:
            self._copy_up(target)
        self._clear(path)
        try:
            os.link(self.real(target), self.real(path), follow_symlinks=False)
        except FileNotFoundError:
            raise InvalidImageError(
                f"invalid layer: hard link {path} to {target}, which is not there"
            ) from None
        except PermissionError:
            raise InvalidImageError(f"invalid layer: hard link {path} to a directory") from None

    def _copy_up(self, path: str) -> None:
        """Copy a file of a lower layer up, so that it can be linked to, as a mounted overlay does."""
        entry = self._lower.lookup(path, follow=False) if self._lower is not None else None
        if entry is None or not (stat.S_ISREG(entry.mode) or stat.S_ISLNK(entry.mode)):
            return
        real = self.real(path)
        if entry.link is not None:
            os.symlink(entry.link, real)
        else:
            with entry.real.open("rb") as source, open(real, "xb") as copy:
                while data := source.read(_COPY):
                    copy.write(data)
        self._inherit(real, entry)
        os.utime(real, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _clear(self, path: str) -> None:
        """Remove what this layer had at ``path``: the last entry of a name wins."""
        real = self.real(path)
        status = lstat(real)
        if status is None:
            return
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(real)
            return
        import shutil

        shutil.rmtree(real)
        for known in [key for key, value in self._directories.items()
                      if f"{value}/".startswith(f"{path}/") or f"{key}/".startswith(f"{path}/")]:  # fmt: skip
            del self._directories[known]

    def _directory(self, path: str) -> str:
        """The directory at ``path``, links followed inside the image; created if it is missing."""
        if (known := self._directories.get(path)) is not None:
            return known
        resolved, links = "/", 0
        parts = [part for part in reversed(path.split("/")) if part]
        while parts:
            part = parts.pop()
            if part == "..":
                resolved = posixpath.dirname(resolved)
                continue
            candidate = posixpath.join(resolved, part)
            link = self._link(candidate)
            if link is None:
                self._ensure(candidate)
                resolved = candidate
                continue
            links += 1
            if links > _MAX_LINKS:
                raise InvalidImageError(f"invalid layer: too many symbolic links in {path}")
            if link.startswith("/"):
                resolved = "/"
            parts += [step for step in reversed(link.split("/")) if step not in ("", ".")]
        self._directories[path] = resolved
        return resolved

    def _link(self, path: str) -> str | None:
        """Where ``path`` points to if it is a symbolic link, here or in the layers below."""
        status = lstat(self.real(path))
        if status is not None:
            return os.readlink(self.real(path)) if stat.S_ISLNK(status.st_mode) else None
        entry = self._lower.lookup(path, follow=False) if self._lower is not None else None
        return entry.link if entry is not None and stat.S_ISLNK(entry.mode) else None

    def _ensure(self, path: str) -> None:
        """Make ``path`` a directory of this layer, with the metadata of the one below if there is one."""
        if path in self._directories:
            return
        real = self.real(path)
        status = lstat(real)
        if status is None or not stat.S_ISDIR(status.st_mode):
            was_whiteout = status is not None and is_whiteout(status)
            if status is not None:
                os.unlink(real)
            os.mkdir(real, 0o755)
            if was_whiteout:
                os.setxattr(real, OPAQUE_ATTRIBUTE, b"y")
            entry = None if was_whiteout or self._lower is None else self._lower.lookup(path, follow=False)
            if entry is not None and stat.S_ISDIR(entry.mode):
                self._inherit(real, entry)
                self._times[path] = entry.mtime_ns
            else:
                self._times[path] = 0
        self._directories[path] = path

    def _inherit(self, real: str, entry: LowerEntry) -> None:
        own(real, entry.uid, entry.gid)
        if not stat.S_ISLNK(entry.mode):
            os.chmod(real, stat.S_IMODE(entry.mode))

    def _set(self, real: str, path: str, member: tarfile.TarInfo) -> None:
        """Set the owner first (that clears set-user-ID), then attributes, mode and time."""
        own(real, member.uid, member.gid)
        if not member.issym():
            for name, value in attributes(member.pax_headers).items():
                with contextlib.suppress(OSError):  # an unsupported attribute, or a name reserved for root
                    os.setxattr(real, name, value, follow_symlinks=False)
            os.chmod(real, stat.S_IMODE(member.mode))
        time = mtime_ns(member)
        if member.isdir():
            self._times[path] = time
        else:
            os.utime(real, ns=(time, time), follow_symlinks=False)
