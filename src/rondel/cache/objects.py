"""File contents by hash: ``.rondel/stages/objects/MD5``.

Rondel restores the results of earlier runs from them without an engine. An
object may be a hard link to a file in the record of the run that made it, so
one whose content no longer matches its name counts as missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from rondel.files.atomic import link_or_copy

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def _folder(root: Path) -> Path:
    return root / ".rondel" / "stages" / "objects"


def _object(root: Path, digest: str) -> Path:
    return _folder(root) / digest.partition(":")[2]


def _md5_of(path: Path) -> str:
    """``md5:…`` of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return f"md5:{hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()}"


def store_files(root: Path, folder: Path, paths: Collection[str]) -> dict[str, str]:
    """Store the files at ``paths`` below ``folder``, and those in folders; return the object of each path."""
    found: dict[str, str] = {}
    for path in paths:
        top = folder / path
        files = [top] if top.is_file() else sorted(each for each in top.rglob("*") if each.is_file())
        for file in files:
            digest = _md5_of(file)
            if not is_intact(root, digest):
                link_or_copy(file, _object(root, digest))
            found[file.relative_to(folder).as_posix()] = digest
    return found


def is_intact(root: Path, digest: str) -> bool:
    """Whether the object exists and its content matches its name."""
    try:
        return _md5_of(_object(root, digest)) == digest
    except OSError:
        return False


def restore_files(root: Path, files: dict[str, str], target: Path) -> None:
    """Copy the objects of ``files`` to their paths below ``target``. Raises OSError if one is missing."""
    for path, digest in files.items():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        shutil.copy(_object(root, digest), file)


def remove_unused(root: Path, needed: Collection[str], *, before: float) -> None:
    """Remove objects that no cached result needs, but keep those made after ``before``.

    A young object may belong to a result that is being saved.
    """
    names = {digest.partition(":")[2] for digest in needed}
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(_folder(root)):
            with contextlib.suppress(FileNotFoundError):
                if entry.name not in names and entry.stat().st_ctime < before:
                    os.unlink(entry.path)  # noqa: PTH108 - a scandir entry
