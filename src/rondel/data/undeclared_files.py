"""Which of the files that a DVC stage opened it does not declare: DVC runs it again for none of them.

What the warning leaves out, so that it is worth reading:

- files of DVC and git, whatever stage reads them (``dvc.yaml``, ``dvc.lock``, ``*.dvc``, ``.dvc/``,
  ``.dvcignore``, ``.git/``, ``.gitignore`` and their kind);
- an empty ``__init__.py``, which every ``python -m src.train`` opens;
- files by which tools find their settings and environments find their packages
  (``pyproject.toml``, ``setup.cfg``, ``requirements.txt``, lock files): almost always a tool
  looked into them on its own, and what they install is part of the image. They are told apart, as
  ``settings``: for a project that keeps parameters in ``pyproject.toml`` they are inputs.

``.env`` is no such file: its variables reach the program. A bytecode file stands for its source,
which Python does not open if the bytecode is good.
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
    """What a stage opened and does not declare, each sorted; paths are relative to the project's root.

    ``read``: worth a warning. ``written``: opened for writing every time, as by what appends to a log
    or a database; neither an output nor a dependency. ``settings``: of tools and environments.
    ``empty``: an ``__init__.py`` without content.
    """

    read: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    @property
    def quiet(self) -> tuple[str, ...]:
        """What is not worth a warning, and may decide what the command makes all the same."""
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
    """Sort the files that ``stage`` opened; all paths are relative to the project's root.

    ``written`` are those that were only opened for writing, ``empty`` those without content, ``links``
    where declared paths lead (see :func:`links_of`). ``also`` are files that whatever ran the
    command opens itself: DVC reads ``params.yaml`` for any stage.
    """
    declared = {posixpath.normpath(path) for path in (*_paths(stage), *also, *(links or {}).values())}
    found: dict[str, set[str]] = {"read": set(), "written": set(), "settings": set(), "empty": set()}
    for path in opened:
        name = _source(path)
        if _is_own(name) or _covered(name, declared):
            continue
        found[_kind(name, written=path in written, empty=empty)].add(name)
    return OpenedFiles(**{kind: tuple(sorted(names)) for kind, names in found.items()})


def _kind(name: str, *, written: bool, empty: Collection[str]) -> str:
    if _says_nothing(name, empty):
        return "empty"
    if _is_setting(name):
        return "settings"
    return "written" if written else "read"


def links_of(root: Path, stage: DvcStage) -> dict[str, str]:
    """The declared paths that are, or lie behind, links to elsewhere in the project: where they lead.

    What is opened through a link is seen as what it leads to.
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


def _covered(path: str, declared: Collection[str]) -> bool:
    if "." in declared:
        return True
    while path:
        if path in declared:
            return True
        path = posixpath.dirname(path)
    return False


def _source(path: str) -> str:
    """The file that ``path`` stands for: the source of a bytecode file in ``__pycache__``."""
    folder, name = posixpath.split(path)
    match = _BYTECODE.fullmatch(name)
    if match is None or posixpath.basename(folder) != "__pycache__":
        return path
    return posixpath.join(posixpath.dirname(folder), f"{match[1]}.py")


def _is_own(path: str) -> bool:
    *folders, name = path.split("/")
    return name in _OWN_FILES or name.endswith(".dvc") or not _OWN_FOLDERS.isdisjoint(folders)


def _is_setting(path: str) -> bool:
    name = posixpath.basename(path)
    return name in _SETTINGS or _REQUIREMENTS.fullmatch(name) is not None


def _says_nothing(path: str, empty: Collection[str]) -> bool:
    return posixpath.basename(path) == "__init__.py" and path in empty
