"""Writing to the host, with the errors that the client knows."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.evaluate import Session
    from rondel.engine.store import View


async def export_to(session: Session, view: View, src: str, dest: Path, *, wipe: bool = False) -> None:
    """Write a directory or file to a host path. Raises EngineError for what the host refuses."""
    former = _mode(dest)
    try:
        await session.store.export(view, src, dest, wipe=wipe)
        if former is not None and view.resolve(src).is_file:
            dest.chmod(former)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EngineError(f"failed to write to {dest}: {error.filename or dest}: {reason}") from None


def _mode(path: Path) -> int | None:
    """The permission bits of a file that is there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return stat.S_IMODE(found.st_mode) if stat.S_ISREG(found.st_mode) else None


def file_destination(session: Session, path: str, name: str, *, allow_directory: bool) -> Path:
    """Where a file goes. Raises EngineError for a directory, unless that is allowed."""
    dest = Path(os.path.normpath(session.workdir / path))
    if dest.is_dir() or path.endswith("/"):
        if not allow_directory:
            raise EngineError(
                f'destination "{dest}" is a directory; must be a file path unless allowParentDirPath is set'
            )
        return dest / name
    return dest
