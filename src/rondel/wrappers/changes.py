"""The paths in git whose change makes a stage's job worth running."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rondel.data import DvcProject, DvcStage
    from rondel.pipeline import Stage

ALWAYS = ("dvc.lock", "pyproject.toml", "uv.lock")
"""What every stage depends on beside its own files, whatever the project."""


def changes_of(
    stages: Sequence[Stage], project: DvcProject | None, *, file: str, containerfile: str
) -> dict[str, tuple[str, ...]]:
    """By stage: its code, parameter files and data pointers, as git's patterns.

    A stage that runs anything but DVC stages can read any file of the
    workspace, so it has none: every change starts it.
    """
    shared = (*ALWAYS, containerfile, file)
    found: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        names = [use.name for use in stage.uses if use.kind == "dvc"]
        whole = all(use.kind in {"dvc", "gate"} and use.literal for use in stage.uses)
        if project is None or not names or not whole:
            found[stage.name] = ()
        else:
            found[stage.name] = tuple(sorted({*shared, *_dvc_paths(names, project)}))
    return found


def results_of(project: DvcProject | None) -> tuple[str, ...]:
    """The files that a run brings back to the working tree: lock files, and outputs that git keeps."""
    if project is None:
        return ()
    locks = {f"{stage.file.rpartition('/')[0]}/dvc.lock".lstrip("/") for stage in project.stages.values()}
    outs = {out.path for stage in project.stages.values() for out in stage.outs if not out.cached}
    return tuple(sorted(locks | outs))


def kept_of(remote: Path | None, root: Path) -> tuple[str, ...]:
    """What speeds the next pipeline up: the memory of stages, and a DVC remote inside of the project."""
    inside = remote is not None and remote.is_relative_to(root)
    return (".rondel/stages/", *((f"{remote.relative_to(root).as_posix()}/",) if inside and remote else ()))


def _dvc_paths(names: Sequence[str], project: DvcProject) -> set[str]:
    made = {out.path for stage in project.stages.values() for out in stage.outs}
    tracked: Mapping[str, str] = {path: each.file for path, each in project.tracked.items()}
    paths: set[str] = set()
    for name in names:
        for address in (*project.upstream(name), name):
            paths |= _own_paths(project.stages[address], made, tracked)
    return paths


def _own_paths(stage: DvcStage, made: set[str], tracked: Mapping[str, str]) -> set[str]:
    paths = {stage.file, *(source.path for source in stage.params)}
    for dep in stage.deps:
        if dep in made or dep in stage.external:
            continue
        paths.add(tracked.get(dep, dep if "." in dep.rpartition("/")[2] else f"{dep}/**/*"))
    return paths
