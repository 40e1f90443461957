"""The files of a project that begins, and how they get onto the disk."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING

from rondel.scaffold.adopt import pipeline_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rondel.scaffold.adopt import Found

NAMES = {
    "ci/main.py": "ci/main.py",
    "Containerfile": "Containerfile",
    "requirements.txt": "requirements.txt",
    "dvc.yaml": "dvc.yaml",
    "params.yaml": "params.yaml",
    "src/prepare.py": "src/prepare.py",
    "src/train.py": "src/train.py",
    "src/evaluate.py": "src/evaluate.py",
    "tests/test_pipeline.py": "tests/test_pipeline.py",
    "pyproject.toml": "pyproject.toml",
    ".gitignore": "gitignore",
    ".dvc/config": "dvcconfig",
}
"""Where each file of ``rondel.scaffold.files`` goes."""

ALWAYS = ("ci/main.py", "Containerfile", "requirements.txt", "pyproject.toml", ".gitignore")
"""What a project that is there may lack."""


def plan(found: Found) -> dict[str, str]:
    """The files to be made, with their text. Of an existing project only what it lacks."""
    if found.new:
        return {path: _text(source, found.name) for path, source in NAMES.items()}
    wanted = {path: _text(NAMES[path], found.name) for path in ALWAYS if path not in found.present}
    if found.points and "requirements.txt" in wanted:
        wanted["requirements.txt"] += "mlflow>=3.10,!=3.18.0\n"
    return {**wanted, "ci/main.py": pipeline_text(found)}


def _text(source: str, name: str) -> str:
    text = files("rondel.scaffold").joinpath("files", *source.split("/")).read_text(encoding="utf-8")
    return text.replace("@NAME@", name)


def apply(root: Path, found: Found, wanted: Mapping[str, str]) -> Iterator[str]:
    """Write the files, then git and the CI systems' files; what was done, line by line."""
    for path, text in wanted.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # x: a file that came to be since we looked is not overwritten either.
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
        yield f"{path}: written"
    if not any((folder / ".git").exists() for folder in (root, *root.parents)) and shutil.which("git"):
        subprocess.run(["git", "init", "--quiet", "."], cwd=root, check=True)
        yield ".git: a new repository"
    if ".gitignore" in found.present and ".rondel" not in (root / ".gitignore").read_text(encoding="utf-8"):
        yield "note: put .rondel/ into .gitignore"
    if found.others:
        points = ", ".join(found.others)
        yield f"note: DVC's stages are the pipeline; MLproject's {points}: declare with pipeline.mlflow(…)"
    if found.lacks and "Containerfile" in wanted:
        yield f"note: the stages' image is made of requirements.txt, which lacks {', '.join(found.lacks)}"
