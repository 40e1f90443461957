"""The paths in git that start a stage's job when they change, and those that a run may write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.cache import read_build_context
from rondel.cache.provenance import FILE as PROVENANCE
from rondel.context.registry import operations_of
from rondel.data.model import overlap
from rondel.data.project import find_stage
from rondel.operations.dvc.operation import DvcStageRun, dvc_stage_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rondel.data import DvcProject, DvcStage
    from rondel.pipeline import Stage

Paths = tuple[str, ...] | None
"""Patterns of git; None means all paths."""

ALWAYS = ("pyproject.toml", "uv.lock")
"""What every stage of every project depends on."""


def changes_of(stages: Sequence[Stage], project: DvcProject, *, shared: Iterable[str]) -> dict[str, Paths]:
    """Each stage's code, parameter files and DVC pointers, as patterns of git.

    ``shared`` are the patterns of all stages: the pipeline's code and the image's
    recipe. A stage that does more than run DVC stages and gates can read any file
    of the workspace, and a stage with the repository reads every commit: None,
    every change starts it. An effect has no patterns; it starts with the stages
    that it needs, so a corrected README deploys nothing.
    """
    always = (*ALWAYS, *shared)
    found: dict[str, Paths] = {}
    for stage in stages:
        operations = operations_of(stage.calls)
        names = dvc_stage_names(operations)
        whole = all(each.literal and not each.reads_workspace for each in operations)
        if stage.pure and operations and whole and not stage.git:
            found[stage.name] = tuple(sorted({*always, *_dvc_paths(names, project)}))
        else:
            found[stage.name] = None if stage.pure or not stage.needs else ()
    return found


def code_patterns(root: Path, file: str) -> tuple[str, ...]:
    """The pipeline's file, and the modules next to it if it is in a folder."""
    folder = file.rpartition("/")[0]
    others = any(path.name != file.rpartition("/")[2] for path in (root / folder).rglob("*.py"))
    return (file, f"{folder}/**/*.py") if folder and others else (file,)


def recipe_patterns(
    root: Path, containerfile: str, target: str, build_args: Iterable[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """The Containerfile, and the files of the project that its ``target`` copies."""
    if not (root / containerfile).is_file():
        return (containerfile,)
    context = read_build_context(root, containerfile, target=target, build_args=build_args)
    return (containerfile, *(_pattern(root, source) for source in context.sources))


def results_of(stages: Sequence[Stage], project: DvcProject) -> tuple[str, ...]:
    """The files that a run writes to the working tree: lock files, and outputs that git keeps.

    Only DVC stages that the pipeline uses count, because the tree may contain
    the ``dvc.yaml`` of another project. If the source of a stage does not say
    which DVC stage it uses, all count.
    """
    operations = [
        each for stage in stages for each in operations_of(stage.calls) if isinstance(each, DvcStageRun)
    ]
    used = project.stages
    if all(each.literal for each in operations):
        names = _with_upstream(dvc_stage_names(operations), project)
        used = {name: project.stages[name] for name in names}
    locks = {stage.lock_file for stage in used.values()}
    locks |= {PROVENANCE} if locks else set()
    outs = {out.path for stage in used.values() for out in stage.outs if not out.cached}
    return tuple(sorted(locks | outs))


def kept_of(remote: Path | None, root: Path) -> tuple[str, ...]:
    """The folders that make the next pipeline faster: the stage cache, and a DVC remote in the project."""
    inside = remote is not None and remote.is_relative_to(root)
    return (".rondel/stages/", *((f"{remote.relative_to(root).as_posix()}/",) if inside and remote else ()))


def _with_upstream(names: Iterable[str], project: DvcProject) -> tuple[str, ...]:
    addresses = [find_stage(project, name).address for name in names]
    return tuple(dict.fromkeys(each for one in addresses for each in (*project.upstream(one), one)))


def _dvc_paths(names: Sequence[str], project: DvcProject) -> set[str]:
    made = {out.path for stage in project.stages.values() for out in stage.outs}
    paths: set[str] = set()
    for name in _with_upstream(names, project):
        stage = project.stages[name]
        paths |= {stage.file, stage.lock_file, *(source.path for source in stage.params)}
        for dep in stage.deps:
            paths |= _dep_paths(dep, stage, made, project)
    return paths


def _dep_paths(dep: str, stage: DvcStage, made: set[str], project: DvcProject) -> set[str]:
    """The paths in git that change with a dependency; none if another stage makes it."""
    if dep in stage.external or any(dep == out or dep.startswith(f"{out}/") for out in made):
        return set()
    pointers = {each.file for path, each in project.tracked.items() if overlap(dep, path)}
    if any(dep == path or dep.startswith(f"{path}/") for path in project.tracked):
        return pointers
    return {_pattern(project.root, dep), *pointers}


def _pattern(root: Path, path: str) -> str:
    """A file's own path, or a pattern for a folder's content; a missing path's name decides."""
    if path == ".":
        return "**/*"
    file = (root / path).is_file() or any(mark in path for mark in "*?[")
    folder = (root / path).is_dir() or "." not in path.rpartition("/")[2]
    return path if file or not folder else f"{path}/**/*"
