"""Saves the code of a run that git can't restore: uncommitted changes and untracked files.

The run's folder gets ``code.diff``, and ``untracked/SHA256`` for each untracked
file. Files that contain secrets or are too large are left out and named.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from rondel.files.atomic import write_atomic
from rondel.record.redact import reason_to_omit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rondel.record.capsule import Git
    from rondel.record.folder import RunFolder
    from rondel.secrets.masker import Masker

DIFF = "code.diff"
UNTRACKED = "untracked"
LARGEST_FILE = 32 << 20
LARGEST_SUM = 128 << 20
LARGEST_DIFF = 64 << 20

_SECTION = re.compile(r"^diff --git ", re.MULTILINE)


def keep_code(folder: RunFolder, root: Path, git: Git, masker: Masker) -> Git:
    """Save the diff and the untracked files of ``git`` in the run's folder.

    ``git.diff`` is the diff itself; in the result it is the name of its file.
    ``omitted`` names what was left out, with the reason. ``masker`` knows the
    values of secrets.
    """
    omitted: dict[str, str] = {}
    changed: dict[str, str] = {}
    kept: list[str] = []
    size = 0
    for path, section in sections(git.diff):
        data = section.encode("utf-8", "surrogateescape")
        why = reason_to_omit(path, data, masker)
        if not why and size + len(data) > LARGEST_DIFF:
            why = "its diff is too large"
        if why:
            omitted[path] = why
            continue
        size += len(data)
        kept.append(section)
        changed[path] = hashlib.sha256(data).hexdigest()
    if kept:
        text = "".join(kept).encode("utf-8", "surrogateescape")
        write_atomic(folder.path / DIFF, text, sync=False)
    untracked = _keep_untracked(folder, root, git.untracked, masker, omitted)
    return replace(
        git,
        diff=DIFF if kept else "",
        changed=changed,
        untracked=untracked,
        omitted=dict(sorted(omitted.items())),
    )


def _keep_untracked(
    folder: RunFolder, root: Path, files: dict[str, str], masker: Masker, omitted: dict[str, str]
) -> dict[str, str]:
    known: dict[str, str] = {}
    size = 0
    for path, claimed in sorted(files.items()):
        known[path] = claimed
        file = root / path
        try:
            length = file.lstat().st_size
            if file.is_symlink():
                omitted[path] = "it is a symbolic link"
                continue
            if length > LARGEST_FILE or size + length > LARGEST_SUM:
                omitted[path] = "it is too large"
                continue
            data = file.read_bytes()
        except OSError as error:
            omitted[path] = f"it can't be read: {error.strerror}"
            continue
        why = reason_to_omit(path, data, masker)
        if why:
            omitted[path] = why
            continue
        size += length
        digest = hashlib.sha256(data).hexdigest()
        known[path] = digest
        target = folder.path / UNTRACKED / digest
        if not target.exists():
            write_atomic(target, data, sync=False)
        if file.stat().st_mode & 0o100:
            target.chmod(0o755)
    return known


def sections(diff: str) -> Iterator[tuple[str, str]]:
    """The sections of a ``git diff``, each with the path of its file after the change."""
    starts = [match.start() for match in _SECTION.finditer(diff)]
    for start, end in pairwise([*starts, len(diff)]):
        text = diff[start:end]
        yield _path(text), text


def _path(section: str) -> str:
    head = section.partition("\n@@ ")[0].splitlines()
    for line in head[1:]:
        for mark in ("+++ b/", "rename to ", "copy to "):
            if line.startswith(mark):
                return line.removeprefix(mark).strip('"\t')
    for line in head[1:]:
        if line.startswith("--- a/"):
            return line.removeprefix("--- a/").strip('"\t')
    # If nothing else names the path (modes, binary files): `diff --git a/PATH b/PATH` has it twice.
    rest = head[0].removeprefix("diff --git ")
    half = len(rest) // 2
    return rest[half + 1 :].removeprefix('"').removeprefix("b/").removesuffix('"')
