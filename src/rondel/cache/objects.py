"""The content of files that go back to the working tree, by hash: ``.rondel/stages/objects/MD5``.

With it the result of an earlier success is put back without an engine. An
object may be a link to the file in the record of the run that made it, so
what is not what its name says counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from rondel.files.placing import put

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def _folder(root: Path) -> Path:
    return root / ".rondel" / "stages" / "objects"


def md5_of(path: Path) -> str:
    """``md5:…`` of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return f"md5:{hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()}"


def keep_files(root: Path, made: Path, paths: Collection[str]) -> dict[str, str]:
    """Keep the files at ``paths`` below ``made``, those in folders, too: each file's path and its object."""
    found: dict[str, str] = {}
    for path in paths:
        top = made / path
        files = [top] if top.is_file() else sorted(each for each in top.rglob("*") if each.is_file())
        for file in files:
            digest = md5_of(file)
            if not whole(root, digest):
                put(file, _folder(root) / digest.partition(":")[2])
            found[file.relative_to(made).as_posix()] = digest
    return found


def whole(root: Path, digest: str) -> bool:
    """Whether the object is there, and is what its name says."""
    try:
        return md5_of(_folder(root) / digest.partition(":")[2]) == digest
    except OSError:
        return False


def lay_out(root: Path, files: dict[str, str], target: Path) -> None:
    """Put the objects of ``files`` at their paths below ``target``. Raises OSError if one is not there."""
    for path, digest in files.items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            place.unlink()
        shutil.copy(_folder(root) / digest.partition(":")[2], place)


def drop_unused(root: Path, needed: Collection[str], *, before: float) -> None:
    """Remove objects that no kept result needs. One made after ``before`` may be about to be: it stays."""
    names = {digest.partition(":")[2] for digest in needed}
    folder = _folder(root)
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                if entry.name not in names and entry.stat().st_ctime < before:
                    os.unlink(entry.path)  # noqa: PTH108 - a scandir entry
