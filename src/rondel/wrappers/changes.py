"""The paths in git whose change makes a stage's job worth running, and those that a run may change."""

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
"""Patterns of git; None stands for whatever there is."""

ALWAYS = ("pyproject.toml", "uv.lock")
"""What every stage depends on beside its own files, whatever the project."""


def changes_of(stages: Sequence[Stage], project: DvcProject, *, shared: Iterable[str]) -> dict[str, Paths]:
    """By stage: its code, parameter files and data pointers, as git's patterns.

    ``shared`` are those that all of them have: the pipeline's code and the
    image's recipe. A stage that does more than DVC stages and gates can read any
    file of the workspace, and one with the repository every commit: None, every
    change starts it. An effect has no paths of its own but starts for what it
    needs: a corrected README deploys nothing.
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
    """The pipeline's file, and with it the modules that lie beside it in a folder of their own."""
    folder = file.rpartition("/")[0]
    others = any(path.name != file.rpartition("/")[2] for path in (root / folder).rglob("*.py"))
    return (file, f"{folder}/**/*.py") if folder and others else (file,)


def recipe_patterns(
    root: Path, containerfile: str, target: str, build_args: Iterable[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """The Containerfile, and what building its ``target`` copies from the project."""
    if not (root / containerfile).is_file():
        return (containerfile,)
    context = read_build_context(root, containerfile, target=target, build_args=build_args)
    return (containerfile, *(_pattern(root, source) for source in context.sources))


def results_of(stages: Sequence[Stage], project: DvcProject) -> tuple[str, ...]:
    """The files that a run brings back to the working tree: lock files, and outputs that git keeps.

    Only DVC stages that the pipeline uses count; another project's ``dvc.yaml``
    may lie in the tree. Where a stage's source does not say which one it uses,
    it may be any.
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
    """What speeds the next pipeline up: the memory of stages, and a DVC remote inside of the project."""
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
    """What a change of the dependency looks like in git; nothing for what another stage makes."""
    if dep in stage.external or any(dep == out or dep.startswith(f"{out}/") for out in made):
        return set()
    pointers = {each.file for path, each in project.tracked.items() if overlap(dep, path)}
    if any(dep == path or dep.startswith(f"{path}/") for path in project.tracked):
        return pointers
    return {_pattern(project.root, dep), *pointers}


def _pattern(root: Path, path: str) -> str:
    """A file as it is, a folder as all that is in it; what is not there is judged by its name."""
    if path == ".":
        return "**/*"
    file = (root / path).is_file() or any(mark in path for mark in "*?[")
    folder = (root / path).is_dir() or "." not in path.rpartition("/")[2]
    return path if file or not folder else f"{path}/**/*"
