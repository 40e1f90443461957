"""Finds files that a DVC stage opened but does not declare; DVC does not notice when they change.

To stay worth reading, the warning leaves out:

- files of DVC and git (``dvc.yaml``, ``dvc.lock``, ``*.dvc``, ``.dvc/``, ``.dvcignore``, ``.git/``,
  ``.gitignore`` and the like), which don't count at all;
- empty ``__init__.py`` files, which every ``python -m src.train`` opens;
- configuration files of tools and package lists (``pyproject.toml``, ``setup.cfg``, ``requirements.txt``,
  lock files): usually a tool opened them on its own, and the packages are part of the image. They still
  count, as ``settings``, because a project may keep parameters in ``pyproject.toml``.

``.env`` is not such a file, because its variables reach the program. A bytecode file counts as its source,
which Python does not open if the bytecode is valid.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from rondel.data.model import DvcStage

_OWN_FOLDERS = frozenset({".dvc", ".git"})
_OWN_FILES = frozenset(
    {"dvc.yaml", "dvc.lock", ".dvcignore", ".git", ".gitignore", ".gitattributes", ".gitmodules", ".gitkeep"}
)
_SETTINGS = frozenset(
    {
        "pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", ".coveragerc", ".editorconfig", ".flake8",
        "mypy.ini", "ruff.toml", ".ruff.toml", "uv.toml", "uv.lock", "poetry.toml", "poetry.lock", "pdm.lock",
        "Pipfile", "Pipfile.lock", ".python-version", ".tool-versions", "renv.lock",
        "MLproject", "python_env.yaml", "conda.yaml", "environment.yml", "environment.yaml",
    }
)  # fmt: skip
_REQUIREMENTS = re.compile(r"(.*[-_.])?requirements([-_.].*)?\.(txt|in)")
_BYTECODE = re.compile(r"(.*?)\.[^.]+-[0-9]+(\.opt-[0-9])?\.pyc")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFiles:
    """The undeclared files that a stage opened, sorted; paths are relative to the project's root.

    ``read`` are worth a warning. ``written`` were only opened for writing, for example a log or a
    database that is neither an output nor a dependency. ``settings`` belong to tools and
    environments. ``empty`` are ``__init__.py`` files without content.
    """

    read: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    @property
    def quiet(self) -> tuple[str, ...]:
        """The files that are not worth a warning, but may still affect the result."""
        return tuple(sorted({*self.written, *self.settings, *self.empty}))


def find_undeclared(
    stage: DvcStage,
    opened: Iterable[str],
    *,
    written: Collection[str] = (),
    empty: Collection[str] = (),
    links: Mapping[str, str] | None = None,
    also: Iterable[str] = (),
) -> OpenedFiles:
    """Classify the files that ``stage`` opened; all paths are relative to the project's root.

    ``written`` were only opened for writing, ``empty`` have no content. ``links`` maps declared paths
    to the paths that they link to (see :func:`links_of`). ``also`` are files that the program that ran
    the command opens: DVC reads ``params.yaml`` for any stage.
    """
    declared = {posixpath.normpath(path) for path in (*_paths(stage), *also, *(links or {}).values())}
    found: dict[str, set[str]] = {"read": set(), "written": set(), "settings": set(), "empty": set()}
    for path in opened:
        name = _source(path)
        if _is_dvc_or_git(name) or _is_declared(name, declared):
            continue
        found[_kind(name, written=path in written, empty=empty)].add(name)
    return OpenedFiles(**{kind: tuple(sorted(names)) for kind, names in found.items()})


def _kind(name: str, *, written: bool, empty: Collection[str]) -> str:
    if _is_empty_module(name, empty):
        return "empty"
    if _is_setting(name):
        return "settings"
    return "written" if written else "read"


def links_of(root: Path, stage: DvcStage) -> dict[str, str]:
    """The targets of declared paths that contain symbolic links within the project.

    A file that is opened through a link is reported by its target.
    """
    top = root.resolve()
    found = {}
    for path in _paths(stage):
        real = posixpath.relpath((top / path).resolve().as_posix(), top.as_posix())
        if real != posixpath.normpath(path) and not real.startswith("../"):
            found[path] = real
    return found


def _paths(stage: DvcStage) -> list[str]:
    local = [dep for dep in stage.deps if "://" not in dep]
    return [*local, *(source.path for source in stage.params), *(out.path for out in stage.outs)]


def _is_declared(path: str, declared: Collection[str]) -> bool:
    if "." in declared:
        return True
    while path:
        if path in declared:
            return True
        path = posixpath.dirname(path)
    return False


def _source(path: str) -> str:
    """The source file of bytecode in ``__pycache__``; any other path is unchanged."""
    folder, name = posixpath.split(path)
    match = _BYTECODE.fullmatch(name)
    if match is None or posixpath.basename(folder) != "__pycache__":
        return path
    return posixpath.join(posixpath.dirname(folder), f"{match[1]}.py")


def _is_dvc_or_git(path: str) -> bool:
    *folders, name = path.split("/")
    return name in _OWN_FILES or name.endswith(".dvc") or not _OWN_FOLDERS.isdisjoint(folders)


def _is_setting(path: str) -> bool:
    name = posixpath.basename(path)
    return name in _SETTINGS or _REQUIREMENTS.fullmatch(name) is not None


def _is_empty_module(path: str, empty: Collection[str]) -> bool:
    return posixpath.basename(path) == "__init__.py" and path in empty
