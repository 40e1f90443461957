"""Scans a folder for what a pipeline can be made from."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError
from rondel.files.yaml_file import read_text
from rondel.scaffold.entry_points import choose_entry_points
from rondel.scaffold.graph import stage_needs
from rondel.scaffold.image import ImagePlan, plan_image
from rondel.scaffold.remote import CONFIG, add_remote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedProject:
    """A new project, or an existing one with what was found in it.

    ``dvc`` maps DVC stages to the stages that they need. ``entry_points`` maps the
    entry points of MLproject that become stages to their parameters. ``present``
    are existing files. ``edits`` maps existing files that get new lines to their new
    text. ``notes`` say what was left out, and why.
    """

    name: str
    dvc: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    entry_points: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    image: ImagePlan = field(default_factory=ImagePlan)
    present: frozenset[str] = frozenset()
    edits: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether the folder has no stages and no entry points."""
        return not self.dvc and not self.entry_points


KNOWN = (".gitignore", CONFIG, "pyproject.toml")


def scan_project(root: Path, name: str | None = None, values: Sequence[str] = ()) -> ScannedProject:
    """Scan a folder. ``values`` are ``POINT.PARAMETER=VALUE`` for MLproject's entry points.

    Raises ConfigurationError for files that can't be read, and for a project
    without anything that can become a stage.
    """
    from rondel.data import load_project
    from rondel.data.dvc_files import dvc_files
    from rondel.data.mlproject import read_mlproject
    from rondel.data.stage_checks import check_not_nested

    exists = root.is_dir()
    mlproject = read_mlproject(root) if exists else None
    project = load_project(root) if exists else None
    if project is not None and project.stages:
        check_not_nested(root)
    stages = stage_needs(project) if project is not None else {}
    ignored = dvc_files(root).ignored if exists else {}
    entry_points, notes = choose_entry_points(mlproject, values, dvc=bool(stages))
    if not stages and mlproject is None:
        _check_new(root, ignored)
        return ScannedProject(name=name or _name(root.name))
    if not stages and not entry_points:
        raise ConfigurationError("MLproject has no entry point that can become a stage", place="MLproject")
    notes += [f"{file} is not part of the pipeline, as {reason}" for file, reason in ignored.items()]
    image = plan_image(root, mlproject, mlflow_runs=bool(entry_points))
    edits, more = _edits(root, image, stages=bool(stages))
    return ScannedProject(
        name=name or _name(root.name),
        dvc=stages,
        entry_points=entry_points,
        image=image,
        present=frozenset(path for path in KNOWN if (root / path).exists()),
        edits=edits,
        notes=(*notes, *image.notes, *more),
    )


def _check_new(root: Path, ignored: Mapping[str, str]) -> None:
    """Refuse a DVC project without stages: the files of a new project don't belong in it."""
    from rondel.data.project import ADD_STAGE, no_stages

    nested = next((file for file in ignored if file.endswith("dvc.yaml")), None)
    if not (root / "dvc.yaml").exists() and not (root / ".dvc").exists() and nested is None:
        return
    raise ConfigurationError(
        f"{no_stages(root)}, so there is nothing to make a pipeline from",
        why=f"{nested} is not part of this project, as {ignored[nested]}" if nested else None,
        hint=f"run `rondel init` in {nested.rpartition('/')[0]}"
        if nested
        else f"{ADD_STAGE}; then `rondel init`",
        place=str(root),
    )


def _edits(root: Path, image: ImagePlan, *, stages: bool) -> tuple[dict[str, str], list[str]]:
    """The new text of existing files that get new lines, and notes."""
    texts: dict[str, str | None] = {".gitignore": ignoring(root / ".gitignore")}
    notes = []
    if stages:
        texts[CONFIG], note = add_remote(root, os.environ)
        notes = [note] if note else []
    if image.options and (root / "pyproject.toml").is_file():
        texts["pyproject.toml"] = with_options(
            read_text(root / "pyproject.toml", "pyproject.toml"), image.options
        )
        if texts["pyproject.toml"] is None:
            lines = ", ".join(options_text(image.options).splitlines()[1:])
            notes.append(f"add to [tool.rondel] in pyproject.toml: {lines}")
    return {path: text for path, text in texts.items() if text is not None}, notes


def with_options(text: str, options: Mapping[str, str]) -> str | None:
    """A ``pyproject.toml`` with the table ``[tool.rondel]`` at its end; None if it already has one."""
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
    """A ``.gitignore`` with ``.rondel/`` in it; None if it already has that."""
    text = path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
    if {line.strip().strip("/") for line in text.splitlines()} & {".rondel", ".rondel/*", ".rondel/**"}:
        return None
    end = "\r\n" if "\r\n" in text else "\n"
    return f"{text}{end if text and not text.endswith(end) else ''}.rondel/{end}"


def _name(folder: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-") or "pipeline"
