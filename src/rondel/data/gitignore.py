"""Adds ``.gitignore`` entries for DVC's outputs, as DVC does when it runs a stage itself.

Stages run in containers, so the entries that DVC writes there are lost. Without
them, ``git add --all`` after a ``dvc pull`` would commit the data.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING

from rondel.data.remote import dvc_config
from rondel.files.atomic import write_atomic
from rondel.git.command import git_paths, run_git

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def ignore_outputs(root: Path, paths: Iterable[str]) -> tuple[str, ...]:
    """Make git ignore ``paths``; return the ``.gitignore`` files that were changed.

    Skips paths that git already ignores or tracks. Does nothing without git, or if DVC
    is configured to work without it. The caller holds the working tree's lock.
    """
    texts = gitignore_updates(root, paths)
    for file, text in texts.items():
        write_atomic(root / file, text.encode(errors="surrogateescape"))
    return tuple(texts)


def gitignore_updates(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """The ``.gitignore`` files that need entries, with their new texts."""
    not_ignored = _not_ignored(root, [path for path in paths if _inside(path)])
    if not not_ignored or _without_scm(root):
        return {}
    texts: dict[str, str] = {}
    for path in not_ignored:
        folder, name = posixpath.split(path)
        file = posixpath.join(folder, ".gitignore")
        text = texts[file] if file in texts else _text(root / file)
        entry = f"/{_escape(name)}"
        if entry not in text.splitlines():  # else a later line reverts it, on purpose
            gap = "" if not text or text.endswith("\n") else "\n"
            texts[file] = f"{text}{gap}{entry}\n"
    return texts


def _inside(path: str) -> bool:
    return "://" not in path and not path.startswith(("/", "../"))


def _not_ignored(root: Path, paths: list[str]) -> list[str]:
    """Those of ``paths`` that ``git add --all`` would add."""
    if not paths:
        return []
    # A missing path may be a folder, which patterns like `data/` match; git can't tell.
    asked = {path: path if (root / path).exists() else f"{path}/" for path in paths}
    ignored = _ignored(root, [*paths, *(each for each in asked.values() if each.endswith("/"))])
    if ignored is None:
        return []
    left = [path for path in paths if path not in ignored and asked[path] not in ignored]
    if not left:
        return []
    tracked = git_paths(root, "ls-files", "-z", "--", *(f":(literal){path}" for path in left)) or ()
    return [path for path in left if not any(f"{name}/".startswith(f"{path}/") for name in tracked)]


def _ignored(root: Path, paths: Iterable[str]) -> set[str] | None:
    """Those of ``paths`` that git ignores; None without git or a repository."""
    listed = os.fsencode("\0".join(paths))
    try:
        done = run_git(root, "check-ignore", "-z", "--stdin", "--no-index", stdin=listed)
    except OSError:
        return None
    if done.returncode not in {0, 1}:  # 1: none of them is ignored
        return None
    return {path for path in os.fsdecode(done.stdout).split("\0") if path}


def _without_scm(root: Path) -> bool:
    return dvc_config(root, os.environ).get("core", {}).get("no_scm", "").lower() in {"true", "1", "yes"}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _escape(name: str) -> str:
    """A pattern that matches only this file name."""
    escaped = re.sub(r"([\\*?\[\]!#])", r"\\\1", name)
    stripped = escaped.rstrip(" ")
    return stripped + "\\ " * (len(escaped) - len(stripped))
