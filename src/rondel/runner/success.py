"""What is kept of a stage that succeeded, so that it need not run again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.cache import StageMemory, remember
from rondel.record import MlflowRun
from rondel.runner.keys import stage_key, stands_on_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.pipeline import Stage
    from rondel.record import KeyRecord, StageRecord
    from rondel.record.capsule import StageState
    from rondel.runner.execute import Execution
    from rondel.runner.journal import Journal
    from rondel.runner.keys import Decision


SUCCEEDED = frozenset({"ran", "restored", "cached"})
"""The states of a stage that is done, so that others may stand on it."""


def settled_as(record: StageRecord) -> tuple[StageState, str]:
    """The state of a stage that succeeded, and why it is that.

    Where DVC had the results of every command, from its run-cache or in place,
    nothing ran; what else a stage does in a container (``sh``, ``mlflow``, raw
    Dagger) always runs.
    """
    outcomes = {command.outcome for command in record.commands}
    known = outcomes and outcomes <= {"restored", "unchanged"}
    if not known or record.kind != "pure" or any(use.kind not in {"dvc", "gate"} for use in record.uses):
        return "ran", record.reason
    did = "restored an earlier result" if "restored" in outcomes else "found nothing to do"
    return "restored", f"{record.reason}; DVC {did}" if record.reason else f"DVC {did}"


def note_cached(
    journal: Journal, name: str, decision: Decision, memory: StageMemory, *, save: bool = True
) -> None:
    """Record that a stage's last success still holds."""
    change = journal.border if save else journal.note_stage
    change(
        name,
        state="cached",
        reason=decision.reason,
        key=decision.key,
        metrics=dict(memory.metrics),
        verdicts=list(memory.verdicts),
        uses=list(memory.uses),
        outputs=dict(memory.made or memory.outputs),
        mlflow=MlflowRun(run_id=memory.mlflow) if memory.mlflow else None,
    )


def note_taken_over(journal: Journal, record: StageRecord, run: str | None, *, save: bool = True) -> None:
    """Record that a stage need not run because it succeeded in the run that this one goes on with."""
    change = journal.border if save else journal.note_stage
    change(
        record.name,
        state="cached",
        reason=f"succeeded in run {run}",
        key=record.key,
        parameters=dict(record.parameters),
        inputs=dict(record.inputs),
        outputs=dict(record.outputs),
        uses=list(record.uses),
        metrics=dict(record.metrics),
        verdicts=list(record.verdicts),
        mlflow=record.mlflow,
    )


def remember_success(execution: Execution, stage: Stage, overrides: Mapping[str, Any]) -> None:
    """Make the key of a stage that just ran and, for a pure one, keep it as its last success.

    The key is made after the run because only now it is known what the stage
    used. Outputs that are not in the workspace (data stays in DVC's cache)
    are covered by ``dvc.lock``.
    """
    journal, project = execution.journal, execution.project
    key = note_key(execution, stage, overrides)
    journal.save()
    if not stage.pure:
        return
    record = journal.record(stage.name)
    source = record.image.source if record.image else None
    present = {path: project.file_hash(path) for path in record.outputs}
    remember(
        execution.run.root,
        stage.name,
        StageMemory(
            key=key,
            run=execution.run.id,
            uses=tuple(record.uses),
            image_source=source,
            outputs={path: now for path, now in present.items() if now and now == record.outputs[path]},
            made=dict(record.outputs),
            metrics=dict(record.metrics),
            verdicts=tuple(record.verdicts),
            mlflow=record.mlflow.run_id if record.mlflow else None,
        ),
    )


def note_key(execution: Execution, stage: Stage, overrides: Mapping[str, Any]) -> KeyRecord:
    """Make the key of what the stage used so far, and note it with the recipe of the image that it ran in.

    Raises what the project raises when something in it cannot be read (any more).
    """
    journal, project = execution.journal, execution.project
    record = journal.record(stage.name)
    image = record.image
    on_host = stands_on_host(image.source if image else None)
    key = stage_key(stage, record.uses, project, overrides, host_image=on_host)
    if image is not None:
        machine = {f"host {name}": value for name, value in project.host().items()} if on_host else {}
        image = replace(image, recipe={**project.image(), **machine})
    journal.note_stage(stage.name, key=key, image=image)
    return key
