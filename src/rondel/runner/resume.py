"""Going on with a run that failed, was interrupted or waits: what succeeded in it is taken over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.cache import compare, stands_on_host
from rondel.errors import ConfigurationError, RecordError, RondelError
from rondel.pipeline import Selection
from rondel.record import Capsule, list_runs, load
from rondel.record.folder import run_ids
from rondel.runner.keys import stage_key
from rondel.runner.success import SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.cache import Change
    from rondel.pipeline import Plan, Stage
    from rondel.record import RunFolder, StageRecord
    from rondel.runner.project import Project

_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """The run that is gone on with, and the records of its stages that need not run again."""

    run: str
    done: Mapping[str, StageRecord] = field(default_factory=dict)


def run_to_resume(root: Path, name: str) -> Capsule:
    """The run that ``--resume NAME`` means; ``latest`` is the newest one that did not succeed.

    Raises RecordError if there is none, or if it succeeded.
    """
    if name != "latest":
        folder, capsule = load(root, name)
        if capsule.state == "succeeded":
            raise RecordError(f"run {capsule.id} has succeeded: there is nothing to resume")
        return _ended(folder, capsule)
    for folder, found in list_runs(root):
        if isinstance(found, Capsule) and found.reproduces is None:
            if found.state == "succeeded":
                break
            return _ended(folder, found)
    if not run_ids(root):
        raise RecordError("there is no run yet, so there is nothing to resume")
    raise RecordError(
        "the newest run has not failed", hint="`rondel runs` lists the runs; --resume RUN names an older one"
    )


def _ended(folder: RunFolder, capsule: Capsule) -> Capsule:
    if capsule.state == "running" and not folder.abandoned:
        raise RecordError(f"run {capsule.id} is still running", hint="wait for its end, or stop it first")
    return capsule


def selection_of(capsule: Capsule, selection: Selection) -> Selection:
    """The selection of the resumed run, unless the command line has targets of its own."""
    if selection.targets or selection.only or selection.from_:
        return selection
    words = list(capsule.arguments)
    from_ = words[words.index("--from") + 1] if "--from" in words[:-1] else None
    return Selection(targets=tuple(capsule.targets), only="--only" in words, from_=from_)


def resume(
    capsule: Capsule,
    plan: Plan,
    project: Project,
    overrides: Mapping[str, Mapping[str, Any]],
    *,
    force: bool = False,
) -> Resumption:
    """What of ``capsule`` is taken over into a run of ``plan``.

    Raises ConfigurationError that names every input of a stage that succeeded
    which is not what it was then; with ``force`` such a stage runs again,
    unless it is an effect: those are never repeated. Neither is one that
    failed half-way, so that is an error, too.
    """
    known = {record.name: record for record in capsule.stages}
    done: dict[str, StageRecord] = {}
    changed: list[str] = []
    for planned in plan.stages:
        stage, record = planned.stage, known.get(planned.name)
        if record is None:
            continue
        if record.state not in SUCCEEDED:
            if not stage.pure and record.attempts:
                raise ConfigurationError(
                    f"{stage.name} is an effect stage that had begun, so it is not repeated",
                    why=f"it {record.state} in run {capsule.id}; what it did by then is not known",
                    hint=f"look, then run it by name: python {capsule.file} {stage.name} --only",
                    place=str(stage.place),
                )
            continue
        if not stage.pure:
            done[stage.name] = record
            continue
        found = _changes(stage, record, project, overrides.get(stage.name, {}))
        if not found:
            done[stage.name] = record
        changed += [f"{stage.name}: {text}" for text in found]
    if changed and not force:
        more = f"\nand {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise ConfigurationError(
            f"what succeeded in run {capsule.id} was made from other inputs",
            why="\n".join(changed[:_SHOWN]) + more,
            hint="put them back, or use --force: those stages run again",
            place="--resume",
        )
    return Resumption(run=capsule.id, done=done)


def _changes(stage: Stage, record: StageRecord, project: Project, overrides: Mapping[str, Any]) -> list[str]:
    if record.key is None:
        return ["its key was not recorded"]
    on_host = bool(record.key.parts.get("host")) or (
        record.image is not None and stands_on_host(record.image.source)
    )
    try:
        key = stage_key(
            stage,
            record.uses,
            project,
            overrides,
            host_image=on_host,
            undeclared=record.key.parts.get("undeclared", {}),
        )
    except RondelError as error:
        return [error.what]
    return [_sentence(change) for change in compare(record.key, key)]


def _sentence(change: Change) -> str:
    word = {"inputs": "input", "parameters": "parameter"}.get(change.part, change.part)
    if change.kind != "changed":
        return f"{word} {change.entry} was {change.kind}"
    short = [str(value) for value in (change.before, change.after)]
    shown = f": {short[0]} then, {short[1]} now" if all(len(text) <= 40 for text in short) else ""
    return f"{word} {change.entry} changed{shown}"
