"""Brings what a stage made to the working tree once the stage has succeeded, or to the run's own tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.context.registry import operations_of
from rondel.operations.dvc.operation import dvc_stage_names

if TYPE_CHECKING:
    from rondel.data.workspace_sync import Conflict, Returned
    from rondel.environment.pending import PendingResults
    from rondel.operations.runtime import StageRuntime


def commit_results(runtime: StageRuntime) -> None:
    """Bring back all that the stage made; what was edited meanwhile is left alone.

    Raises DataError with every file that was changed meanwhile, after all the others are in place.
    """
    from rondel.data.workspace_sync import conflict_error

    conflicts: list[Conflict] = []
    for pending in runtime.pending:
        conflicts += _bring_back(runtime, pending).conflicts
    runtime.pending.clear()
    if conflicts:
        raise conflict_error(runtime.stage.name, conflicts, runtime.run.root)


def _bring_back(runtime: StageRuntime, pending: PendingResults) -> Returned:
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
            # DVC counts them in a folder that a later stage depends on.
            lay_aside(tree, root, ignore_outputs(root, pending.data))
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
