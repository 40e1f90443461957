"""Writes files so that readers and crashes see either the old content or the new."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_atomic(
    path: Path, content: bytes, *, mode: int | None = None, sync: bool = True, follow_links: bool = True
) -> None:
    """Replace the content of ``path``: write a temporary file beside it, sync it, rename it.

    Keeps the mode of an existing file; a new one gets ``mode``, or the default.
    Writes through a symbolic link unless ``follow_links`` is False, which
    replaces the link.
    """
    if follow_links:
        path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None and path.is_file() and not path.is_symlink():
        mode = path.stat().st_mode & 0o7777
    draft = _draft(path)
    try:
        with draft.open("xb") as file:
            file.write(content)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``: a hard link if possible, else a copy.

    Replaces an existing file at once. Raises OSError if that fails; then ``target`` is unchanged.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(target)
    try:
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}.tmp")


def private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, whatever the umask; one of another user stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):
        path.chmod(0o700)
