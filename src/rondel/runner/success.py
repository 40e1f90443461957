"""Records that a stage succeeded, and saves it to the stage cache."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.cache import Change, StageCacheEntry, compare, describe, may_be_host_image, save_entry
from rondel.context.registry import operations_of
from rondel.data.model import overlap
from rondel.record import MlflowRun
from rondel.runner.keys import stage_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from rondel.operations.project import Project
    from rondel.pipeline import Stage
    from rondel.record import KeyRecord, StageRecord
    from rondel.record.capsule import StageState
    from rondel.runner.decide import Decision
    from rondel.runner.journal import Journal


SUCCEEDED = frozenset({"ran", "restored", "cached"})
"""The states of a stage whose dependents can run."""


def outcome_of(record: StageRecord, decision: Decision) -> tuple[StageState, str]:
    """The state of a stage that succeeded in a container, and the reason.

    ``restored`` if the decision was to restore it, and no command had to run.
    """
    outcomes = {command.outcome for command in record.commands}
    if decision.action == "restore" and outcomes <= {"restored", "unchanged"}:
        return "restored", decision.reason
    if decision.action == "restore":
        return "ran", f"{decision.reason} no longer available: ran again"
    return "ran", record.reason


def note_cached(journal: Journal, name: str, decision: Decision, *, save: bool = True) -> None:
    """Record that a stage is cached, with the results and the image of the earlier success."""
    cache_entry = decision.cache_entry
    assert cache_entry is not None  # noqa: S101 - a cached stage always has one
    change = journal.checkpoint if save else journal.note_stage
    change(
        name,
        state="cached",
        reason=decision.reason,
        reused_from=cache_entry.run or None,
        key=decision.key,
        image=cache_entry.image,
        parameters=dict(decision.key.parts.get("parameters", {})) if decision.key else {},
        metrics=dict(cache_entry.metrics),
        verdicts=list(cache_entry.verdicts),
        uses=list(cache_entry.uses),
        outputs=dict(cache_entry.made or cache_entry.outputs),
        undeclared=_undeclared(decision),
        aside=any(found.run_only for found in decision.results),
        pushed=bool(decision.results)
        and all(result.cache_entry.pushed for found in decision.results for result in found.cached),
        mlflow=MlflowRun(run_id=cache_entry.mlflow) if cache_entry.mlflow else None,
    )


def _undeclared(decision: Decision) -> list[str] | None:
    """The undeclared files that the commands read; None if a result has no trace of that."""
    known = [result.cache_entry.undeclared for found in decision.results for result in found.cached]
    if not known or None in known:
        return None
    return sorted({path for paths in known for path in paths or ()})


def note_resumed(journal: Journal, record: StageRecord, run: str | None, *, save: bool = True) -> None:
    """Record that a stage succeeded in the resumed run."""
    change = journal.checkpoint if save else journal.note_stage
    change(
        record.name,
        state="cached",
        reason=f"succeeded in run {run}",
        reused_from=run,
        key=record.key,
        image=record.image,
        parameters=dict(record.parameters),
        inputs=dict(record.inputs),
        outputs=dict(record.outputs),
        undeclared=record.undeclared,
        untraced=record.untraced,
        aside=record.aside,
        pushed=record.pushed,
        uses=list(record.uses),
        metrics=dict(record.metrics),
        verdicts=list(record.verdicts),
        mlflow=record.mlflow,
    )


def save_success(
    journal: Journal,
    project: Project,
    stage: Stage,
    overrides: Mapping[str, Any],
    *,
    before: KeyRecord | None,
    began: float,
    workspace: Mapping[str, str] | None,
) -> None:
    """Make the key of a stage that just ran and save a pure stage to the cache under that key.

    The key is made after the run because it contains what the stage used. If
    something was edited since ``before`` (the key when the stage began) or since
    ``began`` (the time when the workspace was read), the result does not belong
    to this key and is not saved. ``workspace`` are the files that the stage saw, if
    that was known before it began. Results of stages of ``dvc.yaml`` are cached
    separately, under their own keys.
    """
    key = note_key(journal, project, stage, overrides, workspace)
    journal.save()
    if not stage.pure:
        return
    record = journal.record(stage.name)
    made = made_by(journal, project, stage)
    edited = changed_meanwhile(before, key, made) if before is not None else ()
    if not edited and any(operation.reads_workspace for operation in operations_of(record.uses)):
        edited = edited_since(project.root, key, began, made)
    if edited:
        journal.note(
            f"{stage.name}: {describe(edited)} while it ran, so its result is not cached for later runs"
        )
        return
    by_dvc = {
        path
        for operation in operations_of(record.uses)
        if operation.keeps_results
        for path in operation.outputs(project)
    }
    present = {path: project.file_hash(path) for path in record.outputs if path not in by_dvc}
    save_entry(
        project.root,
        StageCacheEntry(
            key=key,
            run=journal.capsule.id,
            stage=stage.name,
            uses=tuple(record.uses),
            image=record.image,
            outputs={path: now for path, now in present.items() if now and now == record.outputs[path]},
            made=dict(record.outputs),
            metrics=dict(record.metrics),
            verdicts=tuple(record.verdicts),
            mlflow=record.mlflow.run_id if record.mlflow else None,
        ),
    )


def made_by(journal: Journal, project: Project, stage: Stage) -> frozenset[str]:
    """The paths that this run's stages make; changes of them are not edits by the user."""
    made = {path for record in journal.capsule.stages for path in record.outputs}
    for operation in operations_of(journal.record(stage.name).uses):
        made.update(operation.outputs(project))
    return frozenset(made)


def changed_meanwhile(before: KeyRecord, after: KeyRecord, made: Collection[str]) -> tuple[Change, ...]:
    """The differences between a stage's keys before and after it ran that the run did not make itself."""
    parts = ("image", "environment", "code", "parameters", "inputs")
    common = [part for part in parts if part in before.parts]
    return tuple(
        change
        for change in compare(
            replace(before, parts={part: before.parts[part] for part in common}),
            replace(after, parts={part: after.parts.get(part, {}) for part in common}),
        )
        # Ignore additions: only the run shows everything that the stage uses.
        if change.kind == "changed"
        and change.entry.rpartition("/")[2] not in {"dvc.lock", ".gitignore"}
        and not any(overlap(change.entry, path) for path in made)
    )


def edited_since(root: Path, key: KeyRecord, began: float, made: Collection[str]) -> tuple[Change, ...]:
    """Files that were edited after the workspace was read, and not by the run: the stage saw the old ones."""
    edited: list[Change] = []
    for path in key.parts.get("inputs", {}):
        if path.rpartition("/")[2] == "dvc.lock" or any(overlap(path, each) for each in made):
            continue
        with suppress(OSError):
            if (root / path).stat().st_ctime >= began:
                edited.append(Change("inputs", path, "changed"))
    return tuple(edited)


def note_key(
    journal: Journal,
    project: Project,
    stage: Stage,
    overrides: Mapping[str, Any],
    workspace: Mapping[str, str] | None,
) -> KeyRecord:
    """Record the key of what the stage used so far, and the recipe of the image that it ran in.

    ``workspace`` are the files that it saw, if that is known.
    Raises what the project raises if it can't read something.
    """
    record = journal.record(stage.name)
    image = record.image
    on_host = may_be_host_image(image.source if image else None)
    # The Containerfile may have been edited since the image was built.
    recipe = dict(image.recipe) if image else {}
    recipe = {name: value for name, value in recipe.items() if not name.startswith("host ")}
    key = stage_key(
        stage,
        record.uses,
        project,
        overrides,
        host_image=on_host,
        undeclared=record.undeclared or (),
        recipe=recipe,
        workspace=workspace,
    )
    if image is not None:
        shared_parts = project.shared_parts()
        machine = {f"host {name}": value for name, value in shared_parts.host.items()} if on_host else {}
        image = replace(image, recipe={**(recipe or shared_parts.image), **machine})
    journal.note_stage(stage.name, key=key, image=image)
    return key
