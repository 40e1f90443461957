"""What a folder has already, as far as a pipeline can be made from it."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError
from rondel.files.yaml_file import read_text
from rondel.scaffold.graph import graph
from rondel.scaffold.image import Image, image_for
from rondel.scaffold.points import choose_points
from rondel.scaffold.remote import CONFIG, with_remote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An existing project.

    ``dvc`` maps its stages to those that they need, ``points`` the entry
    points of MLproject that become stages to the values that they get.
    ``present`` are files that are there, ``edits`` those of them that get lines
    added, with their new text. ``notes`` say what was left out, and why.
    """

    name: str
    dvc: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    points: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    image: Image = field(default_factory=Image)
    present: frozenset[str] = frozenset()
    edits: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def new(self) -> bool:
        """Whether there is nothing to adopt."""
        return not self.dvc and not self.points


KNOWN = (".gitignore", CONFIG, ".gitlab-ci.yml", "Jenkinsfile", "pyproject.toml")


def adopt(root: Path, name: str | None = None, values: Sequence[str] = ()) -> Found:
    """Look at a folder. ``values`` are ``POINT.PARAMETER=VALUE`` for MLproject's entry points.

    Raises ConfigurationError for files that can't be read, and for a project
    that has nothing that could become a stage.
    """
    from rondel.data import load_project
    from rondel.data.dvc_files import dvc_files
    from rondel.data.mlproject import read_mlproject
    from rondel.data.stage_checks import check_not_nested

    there = root.is_dir()
    mlproject = read_mlproject(root) if there else None
    project = load_project(root) if there else None
    if project is not None and project.stages:
        check_not_nested(root)
    stages = graph(project) if project is not None else {}
    ignored = dvc_files(root).ignored if there else {}
    points, notes = choose_points(mlproject, values, dvc=bool(stages))
    if not stages and mlproject is None:
        _check_new(root, ignored)
        return Found(name=name or _name(root.name))
    if not stages and not points:
        raise ConfigurationError("MLproject has no entry point that could become a stage", place="MLproject")
    notes += [f"{file} is not part of the pipeline, as {reason}" for file, reason in ignored.items()]
    image = image_for(root, mlproject, mlflow_runs=bool(points))
    edits, more = _edits(root, image, stages=bool(stages))
    return Found(
        name=name or _name(root.name),
        dvc=stages,
        points=points,
        image=image,
        present=frozenset(path for path in KNOWN if (root / path).exists()),
        edits=edits,
        notes=(*notes, *image.notes, *more),
    )


def _check_new(root: Path, ignored: Mapping[str, str]) -> None:
    """Refuse a DVC project that has no stages: the files of a new one would stand beside it."""
    from rondel.data.project import ADD_STAGE, no_stages

    nested = next((file for file in ignored if file.endswith("dvc.yaml")), None)
    if not (root / "dvc.yaml").exists() and not (root / ".dvc").exists() and nested is None:
        return
    raise ConfigurationError(
        f"{no_stages(root)}, so there is nothing to make a pipeline of",
        why=f"{nested} is not part of this project, as {ignored[nested]}" if nested else None,
        hint=f"run `rondel init` in {nested.rpartition('/')[0]}"
        if nested
        else f"{ADD_STAGE}; then `rondel init`",
        place=str(root),
    )


def _edits(root: Path, image: Image, *, stages: bool) -> tuple[dict[str, str], list[str]]:
    """The new text of files that get lines added, and notes."""
    texts: dict[str, str | None] = {".gitignore": ignoring(root / ".gitignore")}
    notes = []
    if stages:
        texts[CONFIG], note = with_remote(root, os.environ)
        notes = [note] if note else []
    if image.options and (root / "pyproject.toml").is_file():
        texts["pyproject.toml"] = with_options(
            read_text(root / "pyproject.toml", "pyproject.toml"), image.options
        )
        if texts["pyproject.toml"] is None:
            lines = ", ".join(options_text(image.options).splitlines()[1:])
            notes.append(f"put into [tool.rondel] of pyproject.toml: {lines}")
    return {path: text for path, text in texts.items() if text is not None}, notes


def with_options(text: str, options: Mapping[str, str]) -> str | None:
    """A ``pyproject.toml`` with the table ``[tool.rondel]`` at its end; None where it has one already."""
    added = f"{text.rstrip()}\n\n{options_text(options)}".lstrip("\n")
    try:
        tomllib.loads(added)
    except tomllib.TOMLDecodeError:
        return None
    return added


def options_text(options: Mapping[str, str]) -> str:
    """The table ``[tool.rondel]``."""
    return "".join(["[tool.rondel]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in options.items())])


def ignoring(path: Path) -> str | None:
    """A ``.gitignore`` with ``.rondel/`` in it; None where it has that already."""
    text = path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
    if {line.strip().strip("/") for line in text.splitlines()} & {".rondel", ".rondel/*", ".rondel/**"}:
        return None
    end = "\r\n" if "\r\n" in text else "\n"
    return f"{text}{end if text and not text.endswith(end) else ''}.rondel/{end}"


def _name(folder: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-") or "pipeline"
