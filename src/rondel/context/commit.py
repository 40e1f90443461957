"""Brings what a stage made to the working tree once the stage has succeeded, or to the run's own tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.context.registry import operations_of
from rondel.operations.dvc.operation import dvc_stage_names

if TYPE_CHECKING:
    from rondel.data.workspace_sync import Conflict, WriteReport
    from rondel.environment.pending import PendingResults
    from rondel.operations.runtime import StageRuntime


def commit_results(runtime: StageRuntime) -> None:
    """Bring back all that the stage made; what was edited meanwhile is left alone.

    Raises DataError with every file that was changed meanwhile, after all the others are in place.
    """
    from rondel.data.workspace_sync import conflict_error

    conflicts: list[Conflict] = []
    for pending in runtime.pending:
        conflicts += _write_back(runtime, pending).conflicts
    runtime.pending.clear()
    if conflicts:
        raise conflict_error(runtime.stage.name, conflicts, runtime.run.root)


def _write_back(runtime: StageRuntime, pending: PendingResults) -> WriteReport:
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
            # DVC counts them in a folder that a later stage depends on.
            copy_files(tree, root, ignore_outputs(root, pending.data))
    return done


def _apply_parameters(runtime: StageRuntime) -> None:
    """Write the parameters that the stage was given to the working tree's files."""
    from rondel.data import find_stage, load_project
    from rondel.data.params import apply_params

    if not runtime.given:
        return
    project = load_project(runtime.run.root)
    for name in dvc_stage_names(operations_of(runtime.recorder.record.uses)):
        apply_params(runtime.run.root, find_stage(project, name), runtime.given)
