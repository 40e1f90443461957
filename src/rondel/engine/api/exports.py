"""Writing to the host, with the errors that the client knows."""

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
"""The mode of directories that an export has to make: what they get may be nobody else's business."""
_BITS = 0o777
"""What a file may have of its mode on the host: nobody becomes somebody else by it."""


def client_path(session: Session, path: str) -> Path:
    """A path of the client: relative to its directory; ``~`` is its home."""
    if path == "~" or path.startswith("~/"):
        path = os.path.expanduser("~") + path[1:]
    return Path(os.path.normpath(session.workdir / path))


@contextmanager
def writing(dest: Path) -> Iterator[None]:
    """Raise EngineError for what the host refuses meanwhile."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EngineError(f"failed to write to {dest}: {error.filename or dest}: {reason}") from None


async def export_to(session: Session, view: View, src: str, dest: Path, *, wipe: bool = False) -> None:
    """Write a directory or file to a host path. Raises EngineError for what the host refuses.

    A file that is there keeps its mode; a new one gets its own, so far as the umask lets it.
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
    """Have a directory, with its parents. Raises OSError."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not path.is_dir():
        make_directories(path.parent)
        path.mkdir(mode=_PRIVATE, exist_ok=True)


def _umask() -> int:
    """The bits that new files do not get; asking the kernel otherwise would change them for a moment."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def _mode(path: Path) -> int | None:
    """The permission bits of a file that is there."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.S_IMODE(found.st_mode)


def file_destination(session: Session, path: str, name: str, *, allow_directory: bool) -> Path:
    """Where a file goes: into a directory that is there, if that is allowed. Raises EngineError if not."""
    dest = client_path(session, path)
    if dest.is_dir():
        if not allow_directory:
            raise EngineError(
                f'destination "{dest}" is a directory; must be a file path unless allowParentDirPath is set'
            )
        return dest / name
    return dest
