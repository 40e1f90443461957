"""The packages that a project's code imports, for projects without a package list."""

from __future__ import annotations

import ast
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.scaffold.packages import PIP, Packages, others, written_file
from rondel.scaffold.requirements import normalized

if TYPE_CHECKING:
    from collections.abc import Iterator

# Modules whose package has another name.
_PACKAGES = {
    "sklearn": "scikit-learn", "yaml": "pyyaml", "cv2": "opencv-python-headless", "PIL": "pillow",
    "dotenv": "python-dotenv", "skimage": "scikit-image", "dateutil": "python-dateutil",
    "bs4": "beautifulsoup4", "Bio": "biopython", "attr": "attrs", "ruamel": "ruamel.yaml", "git": "gitpython",
    "imblearn": "imbalanced-learn", "umap": "umap-learn", "faiss": "faiss-cpu", "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary", "google": "google-cloud-storage",
}  # fmt: skip
_SKIPPED = frozenset(
    {"tests", "test", "docs", "node_modules", "venv", "env", "build", "dist", "ci", "__pycache__"}
)
_MOST = 2000
"""How many files to read; a larger project has a package list."""


def imported_packages(root: Path) -> Packages:
    """The packages that the code imports, without versions, for a new requirements file."""
    names = sorted({_PACKAGES.get(module, normalized(module)) for module in imported_modules(root)})
    if not names:
        return Packages(source="nothing", notes=(f"{_unnamed(root)}, so the image has Python alone",))
    head = "# The packages that the code imports. Pin them with `pip freeze` where the code works.\n"
    target = written_file(root)
    return Packages(
        source=target,
        copies=(target,),
        install=(f"{PIP} --requirement {target}",),
        names=frozenset(map(normalized, names)),
        written={target: head + "\n".join([*names, ""])},
        notes=(f"{_unnamed(root)}: {target} lists what the code imports, without versions",),
    )


def _unnamed(root: Path) -> str:
    unused = ", ".join(others(root))
    return (
        f"no file lists packages that can be used (not used: {unused})"
        if unused
        else "no file lists packages"
    )


def imported_modules(root: Path) -> dict[str, str]:
    """The third-party modules that the code imports, each with the first file that imports it."""
    files = sorted(_python_files(root))[:_MOST]
    own = {path.stem for path in files} | {
        part for path in files for part in path.relative_to(root).parts[:-1]
    }
    found: dict[str, str] = {}
    for path in files:
        for module in _imported(path):
            if module not in own and module not in sys.stdlib_module_names:
                found.setdefault(module, path.relative_to(root).as_posix())
    return found


def first_importer(root: Path, module: str) -> str | None:
    """The first file that imports ``module``."""
    return imported_modules(root).get(module)


def _python_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        yield from (Path(folder, name) for name in files if name.endswith(".py") and name != "setup.py")


def _imported(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
