"""Promotion, with its conditions, and rollback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError, GateFailed
from rondel.registry.aliases import (
    check_alias,
    find,
    load_alias_log,
    rollback_target,
    set_alias,
    split_reference,
)
from rondel.registry.lineage import Lineage, unmet_conditions
from rondel.registry.project_lineage import commit_problem
from rondel.registry.remote_data import missing_in_remote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.registry.alias_log import AliasLogEntry
    from rondel.registry.backends import Registry
    from rondel.registry.versions import ModelVersion


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasChange:
    """What a promotion or a rollback changed; ``entry`` is None if the alias already pointed there."""

    model: str
    alias: str
    old: str
    new: str
    entry: AliasLogEntry | None
    overridden: tuple[str, ...] = ()


async def promote(
    registry: Registry,
    reference: str,
    *,
    root: Path,
    environ: Mapping[str, str],
    who: str,
    to: str = "champion",
    force: bool = False,
    reason: str = "",
    remote: str | None = None,
    run: str = "",
) -> AliasChange:
    """Point the alias ``to`` at the version of ``reference`` (a bare name means its challenger).

    Raises GateFailed with every condition that is not met. ``force`` overrides
    them and needs a reason; the log records both.
    """
    check_override(force=force, reason=reason)
    check_alias(to)
    name, alias, version = split_reference(reference)
    wanted = reference if alias or version else f"{name}@challenger"
    found = await find(registry, wanted)
    unmet = conditions_of(found, root=root, environ=environ, remote=remote)
    if unmet and not force:
        raise GateFailed(
            f"version {found.version} of {name!r} must not become {to}",
            why="\n".join(f"- {each}" for each in unmet),
            hint="register a version that meets these conditions, or override with --force --reason TEXT",
        )
    old = (await registry.aliases(name)).get(to, "")
    note = reason if not unmet else f"{reason} [overridden: {'; '.join(unmet)}]"
    entry = await set_alias(
        registry,
        name,
        alias=to,
        new=found.version,
        who=who,
        action="promote",
        reason=note,
        forced=bool(unmet),
        run=run or found.tags.get("rondel.run", ""),
    )
    return AliasChange(model=name, alias=to, old=old, new=found.version, entry=entry, overridden=tuple(unmet))


def check_override(*, force: bool, reason: str) -> None:
    """Raise ConfigurationError if conditions are overridden without a reason."""
    if force and not reason.strip():
        raise ConfigurationError("--force needs a reason", hint="add --reason 'WHY'")


async def rollback(
    registry: Registry, model: str, *, who: str, alias: str = "champion", steps: int = 1, reason: str = ""
) -> AliasChange:
    """Point the alias at the version it had ``steps`` promotions ago.

    A former champion needs no conditions: rollback must work when nothing else
    does.
    """
    log = await load_alias_log(registry, model)
    old = (await registry.aliases(model)).get(alias, "")
    if not old and not log.entries:
        await find(registry, model)  # raises the error that lists the known models
    target = rollback_target(log.entries, alias, old, steps, model)
    if await registry.version(model, target) is None:
        raise ConfigurationError(
            f"version {target} of {model!r} is no longer in the registry",
            hint=f"go further back: rondel rollback {model} --steps {steps + 1}",
        )
    entry = await set_alias(
        registry, model, alias=alias, new=target, who=who, action="rollback", reason=reason
    )
    return AliasChange(model=model, alias=alias, old=old, new=target, entry=entry)


def conditions_of(
    version: ModelVersion, *, root: Path, environ: Mapping[str, str], remote: str | None = None
) -> list[str]:
    """The unmet conditions of promoting a version. Checks that the DVC remote has its data."""
    lineage = Lineage.from_tags(version.tags)
    missing = missing_in_remote(root, {**lineage.inputs, **lineage.outputs}, environ, url=remote)
    problem = commit_problem(root, lineage.git_commit) if lineage.git_commit else ""
    return unmet_conditions(lineage, missing=missing, commit_problem=problem)
