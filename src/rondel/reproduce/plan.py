"""What a reproduction would do, decided before anything is touched and shown before anything runs."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.errors import RecordError, did_you_mean
from rondel.record.validation import printable
from rondel.reproduce.verdict import outcome
from rondel.settings.machine import option_variable, stays_here

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.record import Capsule, StageRecord

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,300}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The plan: the stage, the words after ``python``, and the environment that goes with them.

    ``environment`` is set, ``unset`` taken away; ``secrets`` are needed by
    name, ``declared`` are those of them without which nothing starts.
    """

    stage: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_stage(capsule: Capsule, wanted: str | None) -> StageRecord:
    """The stage to run again: the one that is ``wanted``, else the first that failed, else the last that ran.

    Raises RecordError for one that is not there, did not run, or is an effect.
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
            raise RecordError(f"in run {capsule.id} no stage ran", hint="name one with --stage")
        record = candidates[0]
    if record.kind == "effect":
        raise RecordError(
            f"{record.name} is an effect stage: it acts on the outside world, so it is not repeated",
            hint=f"`rondel show {capsule.id} --log {record.name}` prints what it said",
        )
    return record


def plan(
    capsule: Capsule, stage: str, *, params: Iterable[tuple[str, str]] = (), engine: str | None = None
) -> Reproduction:
    """The plan of repeating ``stage``; ``params`` win over those of the run."""
    params = tuple(params)
    overrides = {**capsule.overrides, **dict(params)}
    arguments = [capsule.file, stage, "--only", "--no-cache", "--no-push"]
    if engine is not None:
        arguments += ["--engine", engine]
    for name, value in overrides.items():
        arguments += ["-P", f"{name}={value}"]
    environment = {name: value for name, value in capsule.environment.items() if not stays_here(name)}
    refused = sorted(
        name for name in capsule.environment if name not in environment and not option_variable(name)
    )
    declared = capsule.options.get("secrets")
    listed = [str(name) for name in declared] if isinstance(declared, list) else []
    warnings = [f"not set here: the run's variable {name}" for name in refused]
    warnings += [f"the capsule does not hold {path}: {why}" for path, why in capsule.git.omitted.items()]
    warnings += _without_effect(capsule, stage, [name for name, _ in params])
    return Reproduction(
        stage=stage,
        arguments=tuple(arguments),
        environment=environment,
        unset=tuple(name for name in _compared_names(capsule) if name not in capsule.environment),
        secrets=tuple(capsule.secrets),
        declared=tuple(name for name in listed if name in capsule.secrets),
        warnings=tuple(warnings),
    )


def _without_effect(capsule: Capsule, stage: str, names: Iterable[str]) -> list[str]:
    """Warnings of parameters that the stage does not have, but another one: alone, they change nothing."""
    found = []
    for name in names:
        owners = [each.name for each in capsule.stages if name in _parameters(each)]
        if owners and stage not in owners:
            found.append(f"{name} changes nothing for {stage}: it is a parameter of {owners[0]} (--stage)")
    return found


def _parameters(record: StageRecord) -> set[str]:
    return {*record.parameters, *(record.key.parts.get("parameters", {}) if record.key else {})}


def _compared_names(capsule: Capsule) -> tuple[str, ...]:
    """Variables that would have been recorded had they been set."""
    named = capsule.options.get("environment")
    extra = [str(name) for name in named] if isinstance(named, list) else []
    return tuple(name for name in (*extra, "OMP_NUM_THREADS", "PYTHONHASHSEED", "TZ") if not stays_here(name))


def describe(
    capsule: Capsule,
    reproduction: Reproduction,
    *,
    python: str,
    remote: str,
    place: str,
    changed: Iterable[str] = (),
) -> list[str]:
    """The plan as people read it before they let it run; nothing in a capsule can hide a part of it.

    ``changed`` are the files of its diff, as git reads it: what the capsule says of them may be a lie.
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
        "changed": _some(list(changed)),
        "new": _some(kept),
        "image": _image(record, capsule),
        "inputs": f"{len(record.inputs)} by hash ({inputs}) from {remote}" if record.inputs else "",
        "variables": _some([f"{name}={value}" for name, value in reproduction.environment.items()]),
        "secrets": _some(list(reproduction.secrets)),
        "runs": shlex.join([python, *reproduction.arguments]),
        "in": place,
    }
    lines = [f"  {name:10}{text}" for name, text in facts.items() if text]
    lines += [f"  note: {text}" for text in reproduction.warnings]
    return [printable(line) for line in lines]


def shell_at(record: StageRecord, when: str) -> int:
    """Before or after which of the stage's commands, from 0, the shell belongs: the one that failed.

    Where all of them succeeded (a gate failed, or nothing did) it is before
    the first and after the last.
    """
    for number, command in enumerate(record.commands):
        if command.exit_code != 0:
            return number
    return 0 if when == "before" else max(len(record.commands) - 1, 0)


def base_image(capsule: Capsule, stage: str) -> str | None:
    """The base image by digest that the stage's image stood on, if a store or a registry may have it."""
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


def _some(names: list[str], most: int = 6) -> str:
    shown = ", ".join(name if len(name) <= 80 else name[:79] + "…" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def image_differences(original: StageRecord, again: StageRecord) -> list[str]:
    """How the image that was rebuilt differs from the run's, one sentence each; none if it is the same."""
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
        found.append(_built_anew(one.digest, other.digest))
    return found


def _built_anew(before: str, after: str) -> str:
    if before.partition(":")[0] != after.partition(":")[0]:
        # Each engine has its own kind of digest, and nothing follows from their difference.
        return "the image was built anew, by another kind of engine; same recipe"
    return f"the image was built anew: {before[:24]}… then, {after[:24]}… now; same recipe"
