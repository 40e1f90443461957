"""Going on with a run that failed, was interrupted or waits: what succeeded in it is taken over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.cache import compare, may_be_host_image
from rondel.errors import ConfigurationError, RecordError, RondelError
from rondel.pipeline import Selection
from rondel.record import Capsule, list_runs, load
from rondel.record.folder import run_ids
from rondel.runner.keys import stage_key
from rondel.runner.prepared import Resumption
from rondel.runner.repeat_commands import effect_alone
from rondel.runner.success import SUCCEEDED
from rondel.settings.declare import COMMAND_LINE, RESUMED
from rondel.settings.load import convert
from rondel.settings.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.cache import Change
    from rondel.operations.project import Project
    from rondel.pipeline import Plan, Stage
    from rondel.record import RunFolder, StageRecord
    from rondel.settings import Option, Settings

_SHOWN = 12


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


_SELECTING = frozenset({"only", "from_"})
_IN_PERSON = frozenset({"approve_by", "commit"})
"""What somebody asked for in this clone, which the record of another one does not ask for here."""


def as_asked(settings: Settings, capsule: Capsule, targets: tuple[str, ...]) -> tuple[Settings, Selection]:
    """The settings and the selection of a run that goes on with the one of ``capsule``.

    What that run was asked for, this one is, too: by flags, and by variables
    that are not set any more. What this command line says wins; with stages of
    its own it has its own selection. The project's configuration, and what
    belongs to the machine, are as they are here and now. Raises RecordError
    for a record of values that the options do not have.
    """
    own = bool(targets or settings.only or settings.from_)
    found: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in _SELECTING and own:
            continue
        if _was_asked(option, settings, capsule):
            try:
                found[option.name] = convert(option, capsule.options[option.name])
            except ValueError as error:
                raise RecordError(
                    f"run {capsule.id} records an option that can't be read",
                    why=str(error),
                    place=option.name,
                ) from None
    if capsule.overrides:
        found["params"] = tuple({**capsule.overrides, **dict(settings.params)}.items())
    sources = {**settings.sources, **dict.fromkeys(found, f"{RESUMED}{capsule.id}")}
    settings = replace(settings, sources=sources, resumed=frozenset(found), **found)
    chosen = targets if own else tuple(capsule.targets)
    return settings, Selection(targets=chosen, only=settings.only, from_=settings.from_)


def _was_asked(option: Option, settings: Settings, capsule: Capsule) -> bool:
    """Whether the run was asked for this option's value, and this command does not say another."""
    then, now = capsule.settings.get(option.name, ""), settings.sources.get(option.name)
    if option.name not in capsule.options or option.concerns not in {"result", "run"}:
        return False
    if not then or then.startswith("pyproject.toml") or now == COMMAND_LINE:
        return False
    if option.name in _IN_PERSON and not _is_of(settings.root, capsule):
        return False
    # A variable that is set now is given anew, if the run had it from there; it may say the same.
    return now is None or now.startswith("pyproject.toml") or then != option.env


def _is_of(root: Path, capsule: Capsule) -> bool:
    """Whether a record is one of this clone's own runs."""
    try:
        return load(root, capsule.id)[1] == capsule
    except RecordError:
        return False


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
    kept: set[str] = set()
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
                    hint=f"look, then run it by name: {effect_alone(capsule, stage.name)}",
                    place=str(stage.place),
                )
            continue
        if not stage.pure:
            done[stage.name] = record
            continue
        if record.aside:
            kept.add(stage.name)
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
    return Resumption(run=capsule.id, done=done, kept=frozenset(kept))


def _changes(stage: Stage, record: StageRecord, project: Project, overrides: Mapping[str, Any]) -> list[str]:
    if record.key is None:
        return ["its key was not recorded"]
    on_host = bool(record.key.parts.get("host")) or (
        record.image is not None and may_be_host_image(record.image.source)
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
