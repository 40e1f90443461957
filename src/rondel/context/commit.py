"""Commits the results of a stage that succeeded to the working tree, or to the run's own tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.context.registry import operations_of
from rondel.operations.dvc.operation import dvc_stage_names

if TYPE_CHECKING:
    from rondel.data.workspace_sync import Conflict, Returned
    from rondel.operations.runtime import PendingResults, StageRuntime


def commit_results(runtime: StageRuntime) -> None:
    """Copy the stage's results to the working tree, except over files that were edited meanwhile.

    After copying all others, raises DataError that lists the files edited meanwhile.
    """
    from rondel.data.workspace_sync import conflict_error

    conflicts: list[Conflict] = []
    for pending in runtime.pending:
        conflicts += _commit(runtime, pending).conflicts
    runtime.pending.clear()
    if conflicts:
        raise conflict_error(runtime.stage.name, conflicts, runtime.run.root)


def _commit(runtime: StageRuntime, pending: PendingResults) -> Returned:
    from rondel.cache.provenance import write_provenance
    from rondel.data.gitignore import ignore_outputs
    from rondel.data.runtree import lock_text, run_tree
    from rondel.data.workspace_sync import Returned, bring_back, lay_aside, put_entries, turn

    root, tree = runtime.run.root, run_tree(runtime.run.folder)
    with turn(tree):
        lay_aside(tree, pending.files, pending.before.hashes)
        for lock, entries in pending.entries.items():
            if pending.aside or (tree / lock).is_file():
                put_entries(tree / lock, lock_text(root, tree, lock), entries)
    if pending.aside:
        return Returned()
    if runtime.settings.apply:
        _apply_parameters(runtime)
    aside = runtime.run.folder / "conflicts" / runtime.stage.name
    done = bring_back(root, pending.files, pending.before, aside=aside, new_locks=pending.locks())
    if not done.conflicts:
        with turn(root):
            write_provenance(root, pending.provenance)
            # DVC hashes .gitignore files, too, in a folder that a later stage depends on.
            lay_aside(tree, root, ignore_outputs(root, pending.data))
    return done


def _apply_parameters(runtime: StageRuntime) -> None:
    """With ``--apply``: write the stage's ``-P`` values to the parameter files of the working tree."""
    from rondel.data import find_stage, load_project
    from rondel.data.params import apply_params

    if not runtime.given:
        return
    project = load_project(runtime.run.root)
    for name in dvc_stage_names(operations_of(runtime.recorder.record.uses)):
        apply_params(runtime.run.root, find_stage(project, name), runtime.given)
