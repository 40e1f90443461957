"""Entries of ``.gitignore`` for what DVC keeps, as DVC writes them where it runs a stage itself.

Stages run in containers, so what DVC writes there is lost. Without the entry
the next ``git add --all`` after a ``dvc pull`` commits the data.
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
    """Have git ignore ``paths``; returns the ``.gitignore`` files that got an entry.

    Nothing is done for what git ignores already or has been told to track,
    where there is no git, and in a project that is set to do without it. The
    caller holds the lock of the working tree.
    """
    texts = ignoring_texts(root, paths)
    for file, text in texts.items():
        write_atomic(root / file, text.encode(errors="surrogateescape"))
    return tuple(texts)


def ignoring_texts(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """The ``.gitignore`` files that need an entry, with their texts as they will be."""
    open_to_git = _open_to_git(root, [path for path in paths if _inside(path)])
    if not open_to_git or _without_scm(root):
        return {}
    texts: dict[str, str] = {}
    for path in open_to_git:
        folder, name = posixpath.split(path)
        file = posixpath.join(folder, ".gitignore")
        text = texts[file] if file in texts else _text(root / file)
        entry = f"/{_escape(name)}"
        if entry not in text.splitlines():  # a later line takes it back: that is somebody's own wish
            gap = "" if not text or text.endswith("\n") else "\n"
            texts[file] = f"{text}{gap}{entry}\n"
    return texts


def _inside(path: str) -> bool:
    return "://" not in path and not path.startswith(("/", "../"))


def _open_to_git(root: Path, paths: list[str]) -> list[str]:
    """Those of ``paths`` that ``git add --all`` would take up."""
    if not paths:
        return []
    # What is not here may be a folder, which a pattern like `data/` means: git can't look.
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
    """Those of ``paths`` that git ignores; None where there is no repository, or no git."""
    listed = os.fsencode("\0".join(paths))
    try:
        done = run_git(root, "check-ignore", "-z", "--stdin", "--no-index", stdin=listed)
    except OSError:
        return None
    if done.returncode not in {0, 1}:  # 1: it ignores none of them
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
    """A file's name as a pattern that means nothing else."""
    escaped = re.sub(r"([\\*?\[\]!#])", r"\\\1", name)
    stripped = escaped.rstrip(" ")
    return stripped + "\\ " * (len(escaped) - len(stripped))
