"""A run's own tree, ``.rondel/runs/ID/tree/``: what its stages made for the working tree.

Later stages of the run see these files over the workspace, which was read when
the run began. Results of a run with changed parameters lie here only, lock
entries included: the working tree, whose parameters are others, never gets them.
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
    """The tree in the folder of a run."""
    return folder / "tree"


def with_run_tree(project: DvcProject, tree: Path | None) -> DvcProject:
    """The project with the lock entries of a run's own tree, where they are others than the project's."""
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
    """The files of a run's own tree by hash: stages see them in place of the working tree's."""
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
    """Whether results of these stages are the run's own: of other parameters than the working tree has.

    So are results that were made from such results; ``read`` are files that are known to have been
    read beside the dependencies.
    """
    return reads_run_only(project, read) or any(
        _differs(project.root, stage, overrides) or reads_run_only(project, stage.deps) for stage in stages
    )


def _differs(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> bool:
    given = used_params(root, stage, overrides)
    return bool(given) and stage_params(root, stage, given) != stage_params(root, stage, {})


def reads_run_only(project: DvcProject, paths: Iterable[str]) -> bool:
    """Whether one of these paths is a result that the working tree never gets."""
    makers = [project.stages[address] for address in project.run_only if address in project.stages]
    outs = [out.path for maker in makers for out in maker.outs]
    return any(overlap(path, out) for path in paths for out in outs)


def lock_text(root: Path, tree: Path | None, lock: str) -> str | None:
    """The text of a lock file as the run sees it; None where there is none."""
    for folder in (tree, root):
        if folder is not None and (folder / lock).is_file():
            return (folder / lock).read_text(encoding="utf-8")
    return None
