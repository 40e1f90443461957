"""Plans a reproduction and describes the plan, before anything is written or runs."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.errors import RecordError, did_you_mean
from rondel.record.validation import printable
from rondel.reproduce.comparison import outcome
from rondel.runner.capsule_facts import ALLOWED
from rondel.settings.machine_variables import is_machine_variable, is_option_variable, is_result_option

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rondel.record import Capsule, StageRecord

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,300}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionPlan:
    """The plan: the stage, the arguments for ``python``, and the environment variables.

    ``environment`` are variables to set, ``unset`` those to remove. ``secrets`` are
    the names of the run's secrets; those in ``declared`` are required.
    """

    stage: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_stage(capsule: Capsule, wanted: str | None) -> StageRecord:
    """The stage to repeat: ``wanted``, else the first that failed, else the last that ran.

    Raises RecordError if it does not exist, did not run, or is an effect.
    """
    names = [record.name for record in capsule.stages]
    if wanted is not None:
        if wanted not in names:
            raise RecordError(f"run {capsule.id} has no stage {wanted!r}", hint=did_you_mean(wanted, names))
        record = capsule.stage(wanted)
    else:
        candidates = [
            *(each for each in capsule.stages if each.state == "failed"),
            *(each for each in capsule.stages if each.state in {"cancelled", "running"}),
            *(
                each
                for each in reversed(capsule.stages)
                if each.state in {"ran", "restored"} and each.kind == "pure"
            ),
        ]
        if not candidates:
            raise RecordError(f"no stage of run {capsule.id} ran", hint="choose one with --stage")
        record = candidates[0]
    if record.kind == "effect":
        raise RecordError(
            f"{record.name} is an effect stage: it acts on other systems, so it is not repeated",
            hint=f"`rondel show {capsule.id} --log {record.name}` prints its log",
        )
    return record


def make_plan(
    capsule: Capsule,
    stage: str,
    *,
    params: Iterable[tuple[str, str]] = (),
    engine: str | None = None,
    named: Collection[str] = (),
) -> ReproductionPlan:
    """Plan to repeat ``stage``; ``params`` override those of the run.

    ``named`` are the variables that the project here hands to its stages. Of the capsule's
    variables only these are set, those that every run records, and options that results
    depend on: a capsule from elsewhere must not choose proxies, indexes or programs.
    """
    params = tuple(params)
    overrides = {**capsule.overrides, **dict(params)}
    arguments = [capsule.file, stage, "--only", "--no-cache", "--no-push"]
    if engine is not None:
        arguments += ["--engine", engine]
    for name, value in overrides.items():
        arguments += ["-P", f"{name}={value}"]
    allowed = {*ALLOWED, *named}
    environment = {
        name: value
        for name, value in capsule.environment.items()
        if not is_machine_variable(name) and (name in allowed or is_result_option(name))
    }
    refused = sorted(
        name for name in capsule.environment if name not in environment and not is_option_variable(name)
    )
    declared = capsule.options.get("secrets")
    listed = [str(name) for name in declared] if isinstance(declared, list) else []
    warnings = [f"the run's variable {name} is not set here" for name in refused]
    warnings += [f"the capsule does not contain {path}: {why}" for path, why in capsule.git.omitted.items()]
    warnings += _useless_parameters(capsule, stage, [name for name, _ in params])
    return ReproductionPlan(
        stage=stage,
        arguments=tuple(arguments),
        environment=environment,
        unset=tuple(name for name in _compared_names(capsule) if name not in capsule.environment),
        secrets=tuple(capsule.secrets),
        declared=tuple(name for name in listed if name in capsule.secrets),
        warnings=tuple(warnings),
    )


def _useless_parameters(capsule: Capsule, stage: str, names: Iterable[str]) -> list[str]:
    """Warnings about parameters of other stages, which change nothing for this one."""
    found = []
    for name in names:
        owners = [each.name for each in capsule.stages if name in _parameters(each)]
        if owners and stage not in owners:
            found.append(f"{name} changes nothing for {stage}: it is a parameter of {owners[0]} (--stage)")
    return found


def _parameters(record: StageRecord) -> set[str]:
    return {*record.parameters, *(record.key.parts.get("parameters", {}) if record.key else {})}


def _compared_names(capsule: Capsule) -> tuple[str, ...]:
    """The variables that a capsule records if they are set."""
    named = capsule.options.get("environment")
    extra = [str(name) for name in named] if isinstance(named, list) else []
    return tuple(
        name for name in (*extra, "OMP_NUM_THREADS", "PYTHONHASHSEED", "TZ") if not is_machine_variable(name)
    )


def describe_plan(
    capsule: Capsule,
    reproduction: ReproductionPlan,
    *,
    python: str,
    remote: str,
    place: str,
    tracking: str = "",
    changed: Iterable[str] = (),
) -> list[str]:
    """The plan in lines that people read before they confirm it. A capsule can't hide a part of it.

    ``changed`` are the files of its diff according to git: a capsule may contain a wrong list.
    Files that run on this machine, not in a container, come first. ``tracking`` is the
    MLflow server.
    """
    git, record = capsule.git, capsule.stage(reproduction.stage)
    code = f"commit {(git.commit or '')[:12]}" + (f" of {git.branch}" if git.branch else "")
    kept = [path for path in git.untracked if path not in git.omitted]
    inputs = ", ".join(list(record.inputs)[:4]) + (" …" if len(record.inputs) > 4 else "")
    facts = {
        "run": f"{capsule.id}: {record.name} {outcome(record)}",
        "made": f"{capsule.created} on {capsule.host.distribution or 'an unknown system'}"
        + (f", {capsule.ci.url or capsule.ci.provider}" if capsule.ci else ""),
        "code": code,
        "changed": _files(changed, capsule.file),
        "new": _files(kept, capsule.file),
        "image": _image(record, capsule),
        "inputs": f"{len(record.inputs)} by hash ({inputs}) from {remote}" if record.inputs else "",
        "MLflow": tracking,
        "variables": _all(f"{name}={value}" for name, value in reproduction.environment.items()),
        "secrets": _all(reproduction.secrets),
        "runs": shlex.join([python, *reproduction.arguments]),
        "in": place,
    }
    lines = [f"  {name:10}{text}" for name, text in facts.items() if text]
    lines += [f"  note: {text}" for text in reproduction.warnings]
    return [printable(line) for line in lines]


def shell_position(record: StageRecord, when: str) -> int:
    """The index of the command that the shell opens before or after: the one that failed.

    If all commands succeeded, because only a gate failed or nothing did, the shell
    opens before the first or after the last one.
    """
    for number, command in enumerate(record.commands):
        if command.exit_code != 0:
            return number
    return 0 if when == "before" else max(len(record.commands) - 1, 0)


def base_image(capsule: Capsule, stage: str) -> str | None:
    """The base image of the stage's image, by digest, if a store or a registry may have it."""
    image = capsule.stage(stage).image or capsule.image
    if image is None or image.source != "registry" or not image.base:
        return None
    name, at, digest = image.base.partition("@")
    return image.base if name and at and _DIGEST.fullmatch(digest) and _NAME.fullmatch(name) else None


def _image(record: StageRecord, capsule: Capsule) -> str:
    image = record.image or capsule.image
    if image is None:
        return ""
    source = f" on {image.base or image.source}" if image.source else ""
    return f"{image.reference}{source}" + (f", {image.digest[:30]}…" if image.digest else "")


def _files(paths: Iterable[str], pipeline: str) -> str:
    """All files, with those first that run on this machine: the pipeline, and what it may import."""
    return _all(sorted(paths, key=lambda path: (path != pipeline, not path.endswith(".py"), path)))


def _all(names: Iterable[str]) -> str:
    return ", ".join(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names)


def image_differences(original: StageRecord, again: StageRecord) -> list[str]:
    """How the rebuilt image differs from the run's, one sentence each; empty if it is the same."""
    one, other = original.image, again.image
    if one is None or other is None or (one.digest and one.digest == other.digest):
        return []
    found = []
    for name in ("reference", "source", "base"):
        old, new = getattr(one, name), getattr(other, name)
        if old and new and old != new:
            found.append(f"the image's {name} was {old}, and is {new}")
    for word, before, after in (
        ("recipe", one.recipe, other.recipe),
        ("package", one.packages, other.packages),
    ):
        if not before or not after:
            continue
        for entry in sorted({*before, *after}):
            if before.get(entry) != after.get(entry):
                old, new = before.get(entry, "absent"), after.get(entry, "absent")
                found.append(f"{word} {entry}: {old} then, {new} now")
    if not found and one.digest and other.digest:
        found.append(_rebuilt(one.digest, other.digest))
    return found


def _rebuilt(before: str, after: str) -> str:
    if before.partition(":")[0] != after.partition(":")[0]:
        # Each kind of engine has its own digests, so a difference means nothing.
        return "the image was rebuilt, by another kind of engine, from the same recipe"
    return f"the image was rebuilt from the same recipe: {before[:24]}… then, {after[:24]}… now"
