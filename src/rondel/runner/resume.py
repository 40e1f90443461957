"""Resumes a run that failed, was interrupted or waits: takes over the stages that succeeded."""

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
from rondel.settings.declare import COMMAND_LINE
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

_MAX_CHANGES_SHOWN = 12


def run_to_resume(root: Path, name: str) -> Capsule:
    """The run that ``--resume NAME`` means; ``latest`` is the newest one that did not succeed.

    Raises RecordError if there is none, or if it succeeded.
    """
    if name != "latest":
        folder, capsule = load(root, name)
        if capsule.state == "succeeded":
            raise RecordError(f"run {capsule.id} succeeded, so there is nothing to resume")
        return _check_ended(folder, capsule)
    for folder, found in list_runs(root):
        if isinstance(found, Capsule) and found.reproduces is None:
            if found.state == "succeeded":
                break
            return _check_ended(folder, found)
    if not run_ids(root):
        raise RecordError("there is no run yet, so there is nothing to resume")
    raise RecordError(
        "the newest run succeeded, so there is nothing to resume",
        hint="choose an older one with --resume RUN; `rondel runs` lists them",
    )


def _check_ended(folder: RunFolder, capsule: Capsule) -> Capsule:
    if capsule.state == "running" and not folder.abandoned:
        raise RecordError(f"run {capsule.id} is still running", hint="wait until it ends, or stop it")
    return capsule


_SELECTING = frozenset({"only", "from_"})
_PERSONAL = frozenset({"approve_by", "commit"})
"""Options taken over only from a run of this clone: no other record may approve or commit here."""


def resumed_settings(
    settings: Settings, capsule: Capsule, targets: tuple[str, ...]
) -> tuple[Settings, Selection]:
    """The settings and the selection for resuming the run of ``capsule``.

    Takes over the values that the run got from flags, and from variables that
    are no longer set. This command line overrides them; if it selects stages,
    its selection replaces the run's. The project's configuration and options
    about the machine keep their values of here and now. Raises RecordError if
    the record has a value that its option doesn't accept.
    """
    selects = bool(targets or settings.only or settings.from_)
    recorded: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in _SELECTING and selects:
            continue
        if _takes_over(option, settings, capsule):
            try:
                recorded[option.name] = convert(option, capsule.options[option.name])
            except ValueError as error:
                raise RecordError(
                    f"run {capsule.id} records an option that can't be read",
                    why=str(error),
                    place=option.name,
                ) from None
    if capsule.overrides:
        recorded["params"] = tuple({**capsule.overrides, **dict(settings.params)}.items())
    sources = {**settings.sources, **dict.fromkeys(recorded, f"run {capsule.id}")}
    settings = replace(settings, sources=sources, resumed=frozenset(recorded), **recorded)
    targets = targets if selects else tuple(capsule.targets)
    return settings, Selection(targets=targets, only=settings.only, from_=settings.from_)


def _takes_over(option: Option, settings: Settings, capsule: Capsule) -> bool:
    """Whether the resumed run set this option, and this command does not."""
    then, now = capsule.settings.get(option.name, ""), settings.sources.get(option.name)
    if option.name not in capsule.options or option.concerns not in {"result", "run"}:
        return False
    if not then or then.startswith("pyproject.toml") or now == COMMAND_LINE:
        return False
    if option.name in _PERSONAL and not _is_local_run(settings.root, capsule):
        return False
    # If the run took the value from a variable, and it is still set, the variable counts.
    return now is None or now.startswith("pyproject.toml") or then != option.env


def _is_local_run(root: Path, capsule: Capsule) -> bool:
    """Whether the record is of a run in this clone."""
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
    """The stages of ``capsule`` that a run of ``plan`` takes over.

    If inputs of a pure stage changed since it succeeded, raises
    ConfigurationError that lists them all; with ``force`` the stage runs again.
    Effects are never repeated: one that succeeded is taken over, one that
    failed half-way is an error.
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
                state = "failed" if record.state == "failed" else f"was {record.state}"
                raise ConfigurationError(
                    f"{stage.name} is an effect stage that had begun, so it is not repeated",
                    why=f"it {state} in run {capsule.id}; what it had done by then is unknown",
                    hint=f"check what it did, then run it by name: {effect_alone(capsule, stage.name)}",
                    place=str(stage.place),
                )
            continue
        if not stage.pure:
            done[stage.name] = record
            continue
        if record.aside:
            kept.add(stage.name)
            continue
        changes = _changes(stage, record, project, overrides.get(stage.name, {}))
        if not changes:
            done[stage.name] = record
        changed += [f"{stage.name}: {text}" for text in changes]
    if changed and not force:
        more = len(changed) - _MAX_CHANGES_SHOWN
        raise ConfigurationError(
            f"inputs changed since run {capsule.id}, for stages that succeeded in it",
            why="\n".join(changed[:_MAX_CHANGES_SHOWN]) + (f"\nand {more} more" if more > 0 else ""),
            hint="restore them, or use --force to run those stages again",
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
    before, after = str(change.before), str(change.after)
    values = f" from {before} to {after}" if max(len(before), len(after)) <= 40 else ""
    return f"{word} {change.entry} changed{values}"
