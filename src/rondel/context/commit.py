"""Commits the results of a stage that succeeded to the working tree, or to the run's own tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.context.registry import operations_of
from rondel.operations.dvc.operation import dvc_stage_names

if TYPE_CHECKING:
    from rondel.data.workspace_sync import Conflict, WriteReport
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


def _commit(runtime: StageRuntime, pending: PendingResults) -> WriteReport:
    from rondel.cache.provenance import write_provenance
    from rondel.data.gitignore import ignore_outputs
    from rondel.data.run_tree import lock_text, run_tree
    from rondel.data.workspace_sync import (
        WriteReport,
        copy_files,
        workspace_lock,
        write_entries,
        write_results,
    )

    root, tree = runtime.run.root, run_tree(runtime.run.folder)
    with workspace_lock(tree):
        copy_files(tree, pending.files, pending.before.hashes)
        for lock, entries in pending.entries.items():
            if pending.run_only or (tree / lock).is_file():
                write_entries(tree / lock, lock_text(root, tree, lock), entries)
    if pending.run_only:
        return WriteReport()
    if runtime.settings.apply:
        _apply_parameters(runtime)
    conflicts = runtime.run.folder / "conflicts" / runtime.stage.name
    done = write_results(
        root, pending.files, pending.before, conflict_folder=conflicts, new_locks=pending.locks()
    )
    if not done.conflicts:
        with workspace_lock(root):
            write_provenance(root, pending.provenance)
            # DVC hashes .gitignore files, too, in a folder that a later stage depends on.
            copy_files(tree, root, ignore_outputs(root, pending.data))
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
