"""The files that ``rondel init`` writes."""

from __future__ import annotations

import shutil
from importlib.resources import files
from typing import TYPE_CHECKING

from rondel.files.atomic import write_atomic
from rondel.git.command import run_git
from rondel.scaffold.pipeline import pipeline_text
from rondel.scaffold.scan import options_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rondel.scaffold.scan import ScannedProject

TEMPLATES = {
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
    "data/.gitignore": "data/gitignore",
    "models/.gitignore": "models/gitignore",
    ".dvc/config": "dvcconfig",
    ".dvc/.gitignore": "dvcignored",
}
"""The path in the project of each file of ``rondel.scaffold.files``."""


def new_files(found: ScannedProject) -> dict[str, str]:
    """The files to create, with their text; for an existing project, only those that are missing."""
    if found.is_new:
        return {path: _text(source, found.name) for path, source in TEMPLATES.items()}
    wanted = {"ci/main.py": pipeline_text(found), **found.image.files}
    if "pyproject.toml" not in found.present:
        wanted["pyproject.toml"] = options_text({"name": found.name, **found.image.options})
    made = {path: text for path, text in found.edits.items() if path not in found.present}
    if ".dvc/config" in made:
        made[".dvc/.gitignore"] = _text(TEMPLATES[".dvc/.gitignore"], found.name)
    return {**wanted, **made}


def _text(source: str, name: str) -> str:
    text = files("rondel.scaffold").joinpath("files", *source.split("/")).read_text(encoding="utf-8")
    return text.replace("@NAME@", name)


def write_project(root: Path, found: ScannedProject, wanted: Mapping[str, str]) -> Iterator[str]:
    """Write new files, add lines to existing files, and create a git repository; yield what was done."""
    for path, text in wanted.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # x: does not overwrite a file that someone created since the scan.
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
        yield f"{path}: written"
    for path, text in edited_files(found).items():
        write_atomic(root / path, text.encode("utf-8", "surrogateescape"))
        yield f"{path}: lines added"
    if not any((folder / ".git").exists() for folder in (root, *root.parents)) and shutil.which("git"):
        run_git(root, "init", "--quiet", ".").check_returncode()
        yield ".git: a new repository"
    yield from (f"note: {note}" for note in found.notes)


def edited_files(found: ScannedProject) -> dict[str, str]:
    """The existing files that get new lines, with their new text."""
    return {path: text for path, text in found.edits.items() if path in found.present}
