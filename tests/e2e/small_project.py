"""Small projects for end-to-end tests, written from a table of files and run without this machine's settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TOP = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Write the files below ``root``."""
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(text)


def copy_image(root: Path) -> None:
    """Use this repository's own image, which has DVC and MLflow, and which other tests build, too."""
    for name in ("Containerfile", "pyproject.toml", "uv.lock"):
        shutil.copy(TOP / name, root / name)


def git(root: Path, *words: str) -> str:
    """Run git as a test user; returns its output."""
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def environ(**more: str) -> dict[str, str]:
    """This process's environment without a CI job, an engine session, and settings of DVC, git and MLflow."""
    hidden = ("CI", "DAGGER", "DVC_", "GIT", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}


def run(root: Path, *words: str, timeout: float = 600, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project; ``more`` are variables."""
    return subprocess.run(
        words,
        cwd=root,
        env=environ(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
