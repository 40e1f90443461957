"""Low-level work on files: copy and write them, set owners, open and make folders without following links."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL = 256 * 1024
_CHUNK = 64 * 1024 * 1024


def set_owner(path: str | Path | int, uid: int, gid: int) -> None:
    """Set a file's owner; if the ID does not exist (single-ID mode), the file stays the engine's.

    That mode has one ID, so no other owner is possible.
    """
    try:
        if isinstance(path, int):
            os.fchown(path, uid, gid)
        else:
            os.lchown(path, uid, gid)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise


def copy_bytes(source: int, target: int, size: int) -> None:
    """Copy an open file's content to another file, inside the kernel if possible; ``size`` is its length."""
    if size <= _SMALL:
        while size > 0 and (data := os.read(source, size)):
            write_all(target, data)
            size -= len(data)
        return
    size = min(size, os.fstat(source).st_size)
    for start, end in _written_parts(source, size):
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        copy_on(source, target, end - start)
    if os.fstat(target).st_size < size:
        os.ftruncate(target, size)


def _written_parts(source: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that are not holes; the whole file if the file system does not say."""
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
            at = os.lseek(source, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: only a hole is left up to the end
                yield at, size
            return
        yield start, at


def copy_on(source: int, target: int, size: int) -> int:
    """Copy up to ``size`` bytes between the positions of two open files; returns how many were copied."""
    left = size
    try:
        while left > 0 and (moved := os.copy_file_range(source, target, min(left, _CHUNK))):
            left -= moved
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            raise
        while left > 0 and (data := os.read(source, min(left, 1024 * 1024))):
            write_all(target, data)
            left -= len(data)
    return size - left


def write_all(target: int, data: bytes | bytearray) -> None:
    """Write all bytes: on a disk that fills up, a write takes some of them before the error comes."""
    written = os.write(target, data)
    while written < len(data):
        written += os.write(target, memoryview(data)[written:])


def write_new(
    path: str,
    data: bytes | str | Path,
    *,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    mtime_ns: int | None = None,
) -> None:
    """Create a file from bytes or as a copy of a regular file; a link as the source is an error."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if isinstance(data, bytes):
            write_all(target, data)
        else:
            source = os.open(data, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(source)
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(errno.EINVAL, "not a regular file", str(data))
                copy_bytes(source, target, status.st_size)
            finally:
                os.close(source)
        if uid or gid:
            set_owner(target, uid, gid)
        os.fchmod(target, stat.S_IMODE(mode))
        if mtime_ns is not None:
            os.utime(target, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(target)


def remove_tree(path: str | Path) -> None:
    """Remove whatever is there, of any mode; a missing path is fine."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(path)
        return
    # Overlay work folders have mode 000; an ordinary user's engine must open them first.
    shutil.rmtree(path, onerror=_open_and_retry)


def _open_and_retry(_function: object, path: str, _: object) -> None:
    with contextlib.suppress(FileNotFoundError):
        parent = os.path.dirname(path)
        for folder in (parent, path):
            if os.path.isdir(folder) and not os.path.islink(folder):
                os.chmod(folder, 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def open_beneath(root: str, relative: str) -> int:
    """Open a directory below ``root``; raises OSError if a part of the path is a link."""
    folder = os.open(root, _DIRECTORY)
    for name in filter(None, relative.split("/")):
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def open_file_beneath(root: str, relative: str) -> int:
    """Open a regular file below ``root`` for reading, or ``root`` itself if ``relative`` is empty.

    Raises OSError if a part of the path is a link, and for anything but a regular file: to open a
    pipe or a device could block or have an effect.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    head, _, name = relative.strip("/").rpartition("/")
    if not name:
        file = os.open(root, flags)
    else:
        folder = open_beneath(root, head)
        try:
            file = os.open(name, flags, dir_fd=folder)
        finally:
            os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a regular file")
    return file


def open_or_make_beneath(root: str, relative: str, *, directory: bool) -> int:
    """Open a directory or a regular file below ``root``; makes it, and the directories above it.

    Raises OSError if a part of the path is a link, or if something else is there.
    """
    folder = os.open(root, _DIRECTORY)
    *above, name = filter(None, relative.split("/"))
    try:
        for part in [*above, name] if directory else above:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=folder)
            inner = os.open(part, _DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        if directory:
            return os.dup(folder)
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, 0o644, dir_fd=folder)
    finally:
        os.close(folder)


def make_beneath(root: str, relative: str, names: Sequence[str], owner: tuple[int, int]) -> None:
    """Make nested directories below ``root``; raises OSError if a part of the path is a link.

    Another container may use the same volume and create links in it at any moment, so each
    directory is opened relative to its parent's descriptor.
    """
    folder = open_beneath(root, relative)
    try:
        for name in names:
            os.mkdir(name, 0o755, dir_fd=folder)
            inner = os.open(name, _DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
            set_owner(folder, *owner)
    finally:
        os.close(folder)
