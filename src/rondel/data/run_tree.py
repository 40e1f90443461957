"""A run's own tree, ``.rondel/runs/ID/tree/``: the results of its stages.

Later stages of the run see these files instead of those in the workspace, which
was read when the run began. Results of a run with changed parameters are only
here, including their lock entries: they don't match the parameters in the working
tree, so they are never written to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.data.model import overlap
from rondel.data.params import stage_params, used_params
from rondel.data.project import read_lock
from rondel.files.hashes import HashCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rondel.data.model import DvcProject, DvcStage


def run_tree(folder: Path) -> Path:
    """The tree in a run's folder."""
    return folder / "tree"


def with_run_tree(project: DvcProject, tree: Path | None) -> DvcProject:
    """The project with the lock entries of the run's tree that differ from its own."""
    if tree is None or not tree.is_dir():
        return project
    own = {}
    for lock in {stage.lock_file for stage in project.stages.values()}:
        if not (tree / lock).is_file():
            continue
        entries = read_lock(tree, lock)
        for stage in project.stages.values():
            if stage.lock_file == lock and stage.name in entries:
                own[stage.address] = entries[stage.name]
    return project.with_entries(
        {address: entry for address, entry in own.items() if entry != project.lock.get(address)},
        run_only=True,
    )


def tree_hashes(tree: Path | None) -> dict[str, str]:
    """The hashes of the files in a run's tree. Stages see them instead of those in the working tree."""
    if tree is None or not tree.is_dir():
        return {}
    hashes = HashCache(tree)
    names = (path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())
    found = {name: hashes.of(name) for name in names if not name.startswith(".rondel/")}
    return {name: digest for name, digest in found.items() if digest}


def is_run_only(
    project: DvcProject,
    stages: Iterable[DvcStage],
    overrides: Mapping[str, Any],
    read: Iterable[str] = (),
) -> bool:
    """Whether the results of these stages must stay in the run, because its parameters differ.

    The same applies to results that were made from such results. ``read`` are undeclared files
    that the commands are known to have read.
    """
    return reads_run_only(project, read) or any(
        _differs(project.root, stage, overrides) or reads_run_only(project, stage.deps) for stage in stages
    )


def _differs(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> bool:
    used = used_params(root, stage, overrides)
    return bool(used) and stage_params(root, stage, used) != stage_params(root, stage, {})


def reads_run_only(project: DvcProject, paths: Iterable[str]) -> bool:
    """Whether one of these paths is a result that must stay in the run."""
    makers = [project.stages[address] for address in project.run_only if address in project.stages]
    outs = [out.path for maker in makers for out in maker.outs]
    return any(overlap(path, out) for path in paths for out in outs)


def lock_text(root: Path, tree: Path | None, lock: str) -> str | None:
    """The text of a lock file as the run sees it; None if there is none."""
    for folder in (tree, root):
        if folder is not None and (folder / lock).is_file():
            return (folder / lock).read_text(encoding="utf-8")
    return None
