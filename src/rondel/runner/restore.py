"""Restores cached results into the working tree, or into the run's own tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.cache.objects import restore_files
from rondel.cache.provenance import Provenance, write_provenance
from rondel.context.registry import operations_of
from rondel.data.gitignore import ignore_outputs
from rondel.data.run_tree import lock_text, run_tree
from rondel.data.workspace_sync import (
    copy_files,
    format_lock,
    restore_working_tree,
    workspace_lock,
    write_entries,
)
from rondel.files.atomic import write_atomic
from rondel.operations.dvc.operation import dvc_stage_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.cache.lookup import CachedResult
    from rondel.operations.project import Project
    from rondel.pipeline import Stage
    from rondel.runner.decide import Decision
    from rondel.settings import Settings


def restore_results(
    stage: Stage,
    decision: Decision,
    *,
    project: Project,
    settings: Settings,
    folder: Path,
    overrides: Mapping[str, Any],
) -> None:
    """Restore the results of the success that ``decision`` found; ``folder`` is the run's.

    Raises DataError for a path outside of the project, OSError for a disk error.
    """
    if settings.apply and overrides:
        from rondel.data.params import apply_params

        calls = decision.cache_entry.uses if decision.cache_entry else ()
        for name in dvc_stage_names(operations_of(calls)):
            apply_params(settings.root, project.dvc_stage(name), overrides)
    restored = False
    for number, results in enumerate(decision.results):
        for result in results.cached:
            if result.location == "stage cache":
                name = f"{result.cache_entry.address.replace('/', '_')}.{number}-1"
                step = folder / "results" / stage.name / name
                _restore_result(
                    result, settings.root, step / "files", run_tree(folder), run_only=results.run_only
                )
                (step / "result.json").touch()
                restored = True
    if restored or settings.apply:
        project.invalidate()


def _restore_result(result: CachedResult, root: Path, made: Path, tree: Path, *, run_only: bool) -> None:
    cache_entry = result.cache_entry
    made.mkdir(parents=True, exist_ok=True)
    restore_files(root, cache_entry.files, made)
    paths = result.in_working_tree
    entry = {result.stage.lock_file: {result.stage.name: cache_entry.entry}}
    # `rondel reproduce` compares with the results in the run's folder, lock entries included.
    for lock, entries in entry.items():
        write_atomic(made / lock, format_lock(entries).encode())
    copy_files(tree, made, paths)
    if run_only:
        for lock, entries in entry.items():
            write_entries(tree / lock, lock_text(root, tree, lock), entries)
        return
    restore_working_tree(root, made, paths, entry)
    with workspace_lock(root):
        copy_files(tree, root, ignore_outputs(root, [out.path for out in result.stage.outs if out.cached]))
        if cache_entry.key.digest:
            write_provenance(root, {cache_entry.address: Provenance.of(cache_entry, result.entry)})
