"""Writes to the host, with the error messages that clients know."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rondel.engine.evaluate import Session
    from rondel.engine.store import View


_PRIVATE = 0o700
"""The mode of directories that an export creates: private, because their content may be."""
_BITS = 0o777
"""The mode bits that a file may have on the host: no setuid, setgid or sticky."""


def client_path(session: Session, path: str) -> Path:
    """A path of the client: relative to its directory; ``~`` is its home."""
    if path == "~" or path.startswith("~/"):
        path = os.path.expanduser("~") + path[1:]
    return Path(os.path.normpath(session.workdir / path))


@contextmanager
def writing(dest: Path) -> Iterator[None]:
    """Turn errors of the host's file system into EngineError."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EngineError(f"failed to write to {dest}: {error.filename or dest}: {reason}") from None


async def export_to(session: Session, view: View, src: str, dest: Path, *, wipe: bool = False) -> None:
    """Write a directory or file to a host path. Raises EngineError if the host refuses.

    An existing file keeps its mode; a new one gets the mode of the source within the umask.
    """
    entry = view.resolve(src)
    with writing(dest):
        former = _mode(dest)
        make_directories(dest if entry.is_dir else dest.parent)
        await session.store.export(view, src, dest, wipe=wipe)
        if not entry.is_dir:
            own = stat.S_IMODE(entry.mode) & ~_umask() or 0o600
            dest.chmod((own if former is None else former) & _BITS)
            os.utime(dest)


def make_directories(path: Path) -> None:
    """Create a directory with its parents. Raises OSError."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not path.is_dir():
        make_directories(path.parent)
        path.mkdir(mode=_PRIVATE, exist_ok=True)


def _umask() -> int:
    """The umask, read without changing it: umask(2) would change it for all threads."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def _mode(path: Path) -> int | None:
    """The permission bits of an existing file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.S_IMODE(found.st_mode)


def file_destination(session: Session, path: str, name: str, *, allow_directory: bool) -> Path:
    """The path that a file is written to: inside of an existing directory, if allowed. Raises EngineError."""
    dest = client_path(session, path)
    if dest.is_dir():
        if not allow_directory:
            raise EngineError(
                f'destination "{dest}" is a directory; must be a file path unless allowParentDirPath is set'
            )
        return dest / name
    return dest
