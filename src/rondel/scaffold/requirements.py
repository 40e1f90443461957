"""Reads pip's requirements files: the files that they include, and the packages that they list."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_INCLUDE = re.compile(r"^(?:-r|-c|--requirement|--constraint)[ =]*(?P<file>\S+)")
_LOCAL = re.compile(
    r"^(?:(?:-e|--editable)[ =]*)?(?:file:)?(?P<path>\.{1,2}(?:/[^\s#]*)?(?:\[[^]]*])?)\s*(?:#.*)?$"
)
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")

WITHOUT_LOCAL = r"/^((-e|--editable)[ =]*)?(file:)?\.{1,2}(\/[^ #]*)?(\[[^]]*\])?[ ]*(#.*)?$/d"
"""``_LOCAL`` as a script for `sed -E`, which removes the project itself: its code is in the workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """A requirements file with all that it includes.

    ``files`` are the files to copy. ``names`` are the normalized package names.
    ``local`` says whether the project itself or a folder of it is listed, ``git``
    whether a package comes from a git repository.
    """

    files: tuple[str, ...]
    names: frozenset[str]
    local: bool = False
    git: bool = False


def read_requirements(root: Path, file: str) -> Requirements:
    """Read a requirements file and those that it includes; missing files count as empty."""
    files: dict[str, None] = {}
    names: set[str] = set()
    local = git = False
    queue = [posixpath.normpath(file)]
    while queue:
        path = queue.pop(0)
        if path in files or path.startswith("../") or not (root / path).is_file():
            continue
        files[path] = None
        for line in requirement_lines(root / path):
            if found := _INCLUDE.match(line):
                queue.append(posixpath.normpath(posixpath.join(posixpath.dirname(path), found["file"])))
            elif _LOCAL.match(line):
                local = True
            elif named := _NAME.match(line):
                names.add(normalized(named[0]))
            git = git or "git+" in line
    return Requirements(files=tuple(files), names=frozenset(names), local=local, git=git)


def requirement_lines(path: Path) -> list[str]:
    """The lines without comments. PowerShell's `pip freeze >` writes UTF-16, which pip reads."""
    content = path.read_bytes()
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = content.decode("utf-16" if utf16 else "utf-8-sig", "replace").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def normalized(name: str) -> str:
    """A package's name in the form that indexes compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


_DEVELOPMENT = re.compile(
    r"dev|test|doc|lint|ci\b|check|style|build|notebook|serv|deploy|api\b", re.IGNORECASE
)
_MAIN = (
    "base",
    "main",
    "common",
    "core",
    "prod",
    "production",
    "default",
    "requirements",
    "train",
    "training",
)


def choose_files(files: list[str]) -> tuple[list[str], list[str]]:
    """Split requirements files into those that stages need, and the others.

    A file with a name like ``base`` or ``prod`` is the only one that stages need.
    Without such a file, they need all that are not for development or serving.
    """
    stems = {
        file: re.sub(r"^requirements[-_.]?", "", posixpath.basename(file).rpartition(".")[0])
        for file in files
    }
    for word in _MAIN:
        for file, stem in stems.items():
            if (stem or "requirements") == word:
                return [file], [other for other in files if other != file]
    kept = [file for file, stem in stems.items() if not _DEVELOPMENT.search(stem)]
    return kept, [file for file in files if file not in kept]
