"""Finds the ``dvc.yaml`` and ``.dvc`` files of a DVC project: the same that DVC collects.

DVC leaves out files that git ignores (even if git tracks them), files that a
``.dvcignore`` names, and folders with a ``.dvc``, which are separate projects.
"""

from __future__ import annotations

import os
import posixpath
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.files.yaml_file import read_text
from rondel.git.command import git_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pathspec

_PRUNED = frozenset({".git", ".dvc", ".rondel", ".venv", "venv", "node_modules", "__pycache__", ".tox"})
_NEVER = frozenset({".git", ".hg", ".dvc"})
"""Folders that DVC skips at any depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcFiles:
    """A project's files in DVC's order, and the ignored files with the reason."""

    files: tuple[str, ...]
    ignored: Mapping[str, str] = field(default_factory=dict)


def dvc_files(root: Path) -> DvcFiles:
    """All ``dvc.yaml`` and ``.dvc`` files below ``root``. Raises ConfigurationError."""
    names, by_git = _candidates(root)
    ignores = _Ignores(root)
    files: list[str] = []
    ignored: dict[str, str] = {}
    for name in sorted(names, key=_walk_order):
        if _NEVER.intersection(name.split("/")[:-1]) or not (root / name).is_file():
            continue
        reason = "git ignores it" if name in by_git else ignores.reason(name)
        if reason is None:
            files.append(name)
        else:
            ignored[name] = reason
    return DvcFiles(files=tuple(files), ignored=ignored)


def _walk_order(name: str) -> tuple[tuple[str, ...], str]:
    """Sort key: a folder's files come before those in its subfolders."""
    *folders, last = name.split("/")
    return tuple(folders), last


def _candidates(root: Path) -> tuple[set[str], set[str]]:
    """The candidates, and those that git tracks although it ignores them."""
    patterns = ["--", "*.dvc", "dvc.yaml", "**/dvc.yaml"]
    listed = git_paths(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns)
    if listed is None:
        return set(_walk(root)), set()
    tracked = git_paths(root, "ls-files", "-z", "--cached", "--ignored", "--exclude-standard", *patterns)
    return set(listed), set(tracked or ())


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _PRUNED)
        for name in files:
            if name == "dvc.yaml" or (name.endswith(".dvc") and name != ".dvc"):
                yield Path(folder, name).relative_to(root).as_posix()


class _Ignores:
    """Evaluates ``.dvcignore`` files and nested projects; reads each folder once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._nested: dict[str, bool] = {}
        self._specs: dict[str, pathspec.GitIgnoreSpec | None] = {}

    def reason(self, name: str) -> str | None:
        """Why DVC leaves the file out; None if it does not."""
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            folder = depth < len(parts)
            if folder and self._is_project(path):
                return f"{path}/ is a separate DVC project"
            if file := self._ignoring(parts[:depth], folder=folder):
                return f"{file} excludes it"
        return None

    def _is_project(self, folder: str) -> bool:
        if folder not in self._nested:
            self._nested[folder] = (self._root / folder / ".dvc").exists()
        return self._nested[folder]

    def _ignoring(self, parts: list[str], *, folder: bool) -> str | None:
        """The nearest ``.dvcignore`` with a matching pattern, if it excludes this path."""
        for above in range(len(parts) - 1, -1, -1):
            where = "/".join(parts[:above])
            spec = self._spec(where)
            if spec is None:
                continue
            found = spec.check_file("/".join(parts[above:]) + ("/" if folder else "")).include
            if found is not None:
                return posixpath.join(where, ".dvcignore") if found else None
        return None

    def _spec(self, folder: str) -> pathspec.GitIgnoreSpec | None:
        if folder not in self._specs:
            self._specs[folder] = _read_spec(self._root, posixpath.join(folder, ".dvcignore"))
        return self._specs[folder]


def _read_spec(root: Path, file: str) -> pathspec.GitIgnoreSpec | None:
    try:
        lines = [line.strip() for line in read_text(root / file, file).splitlines()]
    except FileNotFoundError:
        return None
    patterns = {number: line for number, line in enumerate(lines, 1) if line and not line.startswith("#")}
    # `dvc init` writes a file with only comments; don't import a library for it.
    if not patterns:
        return None
    import pathspec

    with warnings.catch_warnings():
        # `re` warns about unusual patterns such as `[[a]`.
        warnings.simplefilter("ignore", FutureWarning)
        for number, pattern in patterns.items():
            try:
                pathspec.GitIgnoreSpec.from_lines([pattern], backend="simple")
            except ValueError:
                raise ConfigurationError(
                    f"{pattern!r} is not a valid .gitignore pattern", place=f"{file}:{number}"
                ) from None
        return pathspec.GitIgnoreSpec.from_lines(patterns.values(), backend="simple")
