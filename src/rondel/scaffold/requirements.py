"""pip's requirements files, as far as an image has to know them: what they include and what they name."""

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
"""The same as ``_LOCAL``, as a program of `sed -E`: the project's own code comes with the workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """A requirements file with all that it includes.

    ``files`` are those to copy; ``names`` the packages, normalized; ``local``
    whether the project itself, or a folder of it, is among them; ``git``
    whether a package comes from a repository.
    """

    files: tuple[str, ...]
    names: frozenset[str]
    local: bool = False
    git: bool = False


def read_requirements(root: Path, file: str) -> Requirements:
    """The requirements file and those that it includes; what can't be read is taken for empty."""
    files: dict[str, None] = {}
    names: set[str] = set()
    local = git = False
    queue = [posixpath.normpath(file)]
    while queue:
        path = queue.pop(0)
        if path in files or path.startswith("../") or not (root / path).is_file():
            continue
        files[path] = None
        for line in lines_of(root / path):
            if found := _INCLUDE.match(line):
                queue.append(posixpath.normpath(posixpath.join(posixpath.dirname(path), found["file"])))
            elif _LOCAL.match(line):
                local = True
            elif named := _NAME.match(line):
                names.add(normalized(named[0]))
            git = git or "git+" in line
    return Requirements(files=tuple(files), names=frozenset(names), local=local, git=git)


def lines_of(path: Path) -> list[str]:
    """The lines with something in them. PowerShell's `pip freeze >` writes UTF-16, which pip reads, too."""
    content = path.read_bytes()
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = content.decode("utf-16" if utf16 else "utf-8-sig", "replace").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def normalized(name: str) -> str:
    """A package's name as indexes compare it."""
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


def choose(files: list[str]) -> tuple[list[str], list[str]]:
    """Of several requirements files those that stages need, and those for development or serving.

    One called ``base``, ``prod`` and the like is taken for the whole; otherwise all but the others.
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
