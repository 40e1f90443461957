"""Copies of the projects in ``tests/projects``, as a clone of each would lie on a disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECTS = Path(__file__).parents[1] / "projects"
TICKETS = PROJECTS / "data" / "tickets.tsv"
DVC = str(Path(sys.executable).with_name("dvc"))
_GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")


def run(root: Path, *words: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, away from this machine's settings of git, DVC and CI."""
    away = ("GIT_", "DVC_", "CI", "DAGGER", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(away)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    site = {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(root.parent / "dvc-site"), "PATH": path}
    done = subprocess.run(
        words, cwd=root, env={**kept, **site, **more}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def copy_project(name: str, parent: Path) -> Path:
    """A clone of the project, with the data that DVC keeps in its cache and nothing else of it."""
    root = parent / name
    shutil.copytree(PROJECTS / name, root, ignore=shutil.ignore_patterns("__pycache__"))
    run(root, "git", "init", "--quiet", "--initial-branch", "main")
    for pointer in root.rglob("tickets.tsv.dvc"):
        shutil.copy(TICKETS, pointer.with_suffix(""))
        run(root, DVC, "commit", "--quiet", "--force", str(pointer))
    commit(root, "One")
    return root


def commit(root: Path, message: str) -> None:
    """Commit everything."""
    run(root, *_GIT, "add", "--all")
    run(root, *_GIT, "commit", "--quiet", "--message", message)
