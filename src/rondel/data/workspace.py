"""Which files of the project a stage sees: those that git tracks or does not ignore.

Ignored files and data that DVC tracks are excluded. The result is a list of
exclude patterns for ``host.directory``, which is much shorter than a list of all
files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.git.command import git_paths

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.data.model import DvcProject

ALWAYS = (
    ".git", ".rondel", "rondel.lock", ".dvc/tmp", ".dvc/cache", ".dvc/config.local",
    "**/__pycache__", "**/*.pyc",
)  # fmt: skip
"""Never in the workspace. Bytecode may be outdated; stages compile the sources themselves."""
_WITHOUT_GIT = (
    ".venv",
    "venv",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/node_modules",
    "mlruns",
    "mlflow.db",
)


def workspace_excludes(project: DvcProject) -> tuple[str, ...]:
    """Patterns, in the style of ``.dockerignore``, of what is not in the stages' workspace.

    Outputs that DVC does not cache are always in it, because nothing else provides them.
    """
    data_paths = [escape(path) for path in project.data_paths()]
    ignored = _git_ignored(project.root)
    rest = _WITHOUT_GIT + _gitignore_lines(project.root) if ignored is None else _collapse(ignored)
    kept = [f"!{escape(path)}" for path in project.uncached_outputs()]
    return tuple(dict.fromkeys([*data_paths, *rest, *kept, *ALWAYS, *_modules_without_source(project.root)]))


def _git_ignored(root: Path) -> list[str] | None:
    return git_paths(root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")


def _modules_without_source(root: Path) -> list[str]:
    """Re-include bytecode that git tracks and that has no source."""
    tracked = git_paths(root, "ls-files", "-z", "--cached", "*.pyc") or []
    return [
        f"!{escape(name)}"
        for name in tracked
        if "__pycache__/" not in name and not (root / name).with_suffix(".py").exists()
    ]


def _collapse(paths: Iterable[str]) -> tuple[str, ...]:
    kept = []
    for path in paths:
        name = path.rstrip("/")
        if not re.search(r"(^|/)__pycache__(/|$)", name) and name not in ALWAYS:
            kept.append(escape(name))
    return tuple(kept)


def _gitignore_lines(root: Path) -> tuple[str, ...]:
    """The root's ``.gitignore`` as ``.dockerignore`` patterns."""
    try:
        lines = (root / ".gitignore").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    found = []
    for line in lines:
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        sign = "!" if rule.startswith("!") else ""
        body = rule.removeprefix("!").rstrip("/")
        found.append(sign + (body.lstrip("/") if "/" in body else f"**/{body}"))
    return tuple(found)


def escape(path: str) -> str:
    """The pattern that matches just this path."""
    return re.sub(r"([\\*?\[\]!])", r"\\\1", path)


def workspace_files(project: DvcProject) -> tuple[str, ...]:
    """All files that a stage sees, sorted, relative to the root; for keys that depend on all of them."""
    import pathspec

    excludes = [_anchored(p) for p in workspace_excludes(project)]
    spec = pathspec.PathSpec.from_lines("gitignore", excludes, backend="simple")
    kept = project.uncached_outputs()
    found = []
    for folder, folders, files in os.walk(project.root):
        relative = Path(folder).relative_to(project.root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        folders[:] = [
            name
            for name in folders
            if not spec.match_file(f"{prefix}{name}/")
            or any(path.startswith(f"{prefix}{name}/") for path in kept)
        ]
        found += [f"{prefix}{name}" for name in files if not spec.match_file(f"{prefix}{name}")]
    return tuple(sorted(found))


def _anchored(pattern: str) -> str:
    """Convert a ``.dockerignore`` pattern to ``.gitignore``: anchored at the root unless it has ``**``."""
    sign = "!" if pattern.startswith("!") else ""
    body = pattern.removeprefix("!")
    return sign + (body if body.startswith("**/") else f"/{body}")
