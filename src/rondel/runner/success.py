"""What is kept of a stage that succeeded, so that it need not run again, and where its results are."""

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
    from rondel.runner.journal import Journal
    from rondel.runner.keys import Decision


SUCCEEDED = frozenset({"ran", "restored", "cached"})
"""The states of a stage that is done, so that others may stand on it."""


def outcome_of(record: StageRecord, decision: Decision) -> tuple[StageState, str]:
    """The state of a stage that succeeded in a container, and why it is that.

    ``restored`` if it was decided that its results only have to be brought,
    and so it was: no command of it ran.
    """
    outcomes = {command.outcome for command in record.commands}
    if decision.action == "restore" and outcomes <= {"restored", "unchanged"}:
        return "restored", decision.reason
    if decision.action == "restore":
        return "ran", f"{decision.reason} no longer: it ran again"
    return "ran", record.reason


def note_cached(journal: Journal, name: str, decision: Decision, *, save: bool = True) -> None:
    """Record that an earlier success of a stage holds, with the image that it was made in."""
    cache_entry = decision.cache_entry
    assert cache_entry is not None  # noqa: S101 - there is none without it
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
    """The files that are known to have been read beside the declared ones; None where that is not known."""
    known = [result.cache_entry.undeclared for found in decision.results for result in found.cached]
    if not known or None in known:
        return None
    return sorted({path for paths in known for path in paths or ()})


def note_taken_over(journal: Journal, record: StageRecord, run: str | None, *, save: bool = True) -> None:
    """Record that a stage need not run because it succeeded in the run that this one goes on with."""
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
) -> None:
    """Make the key of a stage that just ran and, for a pure one, keep what it made under that key.

    The key is made after the run because only now it is known what the stage
    used. What was edited since ``before``, the key as the stage began, or since
    ``began``, the time when the workspace was read, is not what ran: then it is
    no success of this key. What its stages of ``dvc.yaml``
    made is kept beside, by their own keys.
    """
    key = note_key(journal, project, stage, overrides)
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
            f"{stage.name}: {describe(edited)} while it ran, so its result is not kept for later runs"
        )
        return
    by_dvc = {path for operation in operations_of(record.uses) for path in operation.outputs(project)}
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
    """The paths that this run's stages make: that they change while a stage runs is no edit."""
    records = journal.capsule.stages
    found = {path for record in records for path in record.outputs}
    for record in records:
        for operation in operations_of(record.uses) if record.name == stage.name else ():
            found.update(operation.outputs(project))
    return frozenset(found)


def changed_meanwhile(before: KeyRecord, after: KeyRecord, made: Collection[str]) -> tuple[Change, ...]:
    """What of a stage's key is another one as it ended than as it began, and was not made by the run."""
    parts = ("image", "environment", "code", "parameters", "inputs")
    common = [part for part in parts if part in before.parts]
    return tuple(
        change
        for change in compare(
            replace(before, parts={part: before.parts[part] for part in common}),
            replace(after, parts={part: after.parts.get(part, {}) for part in common}),
        )
        # A stage may turn out to use more than was known as it began.
        if change.kind == "changed"
        and change.entry.rpartition("/")[2] not in {"dvc.lock", ".gitignore"}
        and not any(overlap(change.entry, path) for path in made)
    )


def edited_since(root: Path, key: KeyRecord, began: float, made: Collection[str]) -> tuple[Change, ...]:
    """Files of the workspace that were edited since then, and not by the run: the stage did not see that."""
    found: list[Change] = []
    for path in key.parts.get("inputs", {}):
        if path.rpartition("/")[2] == "dvc.lock" or any(overlap(path, each) for each in made):
            continue
        with suppress(OSError):
            if (root / path).stat().st_ctime >= began:
                found.append(Change("inputs", path, "changed"))
    return tuple(found)


def note_key(journal: Journal, project: Project, stage: Stage, overrides: Mapping[str, Any]) -> KeyRecord:
    """Make the key of what the stage used so far, and note it with the recipe of the image that it ran in.

    Raises what the project raises when something in it cannot be read (any more).
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
    )
    if image is not None:
        shared_parts = project.shared_parts()
        machine = {f"host {name}": value for name, value in shared_parts.host.items()} if on_host else {}
        image = replace(image, recipe={**(recipe or shared_parts.image), **machine})
    journal.note_stage(stage.name, key=key, image=image)
    return key
