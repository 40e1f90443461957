"""Setting and resolving aliases, and reading their log."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError, RecordError, TrackingUnavailable
from rondel.registry.alias_log import AliasLog, AliasLogEntry, aliases_after
from rondel.registry.attestations import sign
from rondel.registry.backends import Registry, lost_race

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.registry.versions import ModelVersion

SETTLE_SECONDS = 1.0
"""An MLflow server has no transactions: another machine can write an entry between our reading
of the log and our writing. After this time such an entry is visible."""


async def set_alias(
    registry: Registry,
    model: str,
    *,
    alias: str,
    new: str,
    who: str,
    action: str,
    reason: str = "",
    forced: bool = False,
    run: str = "",
) -> AliasLogEntry | None:
    """Write an entry to the log, then set the alias. Return None if the alias already points there.

    If the environment names a signing key, it signs the entry.
    In this order, a crash may leave an entry without its change, but never a
    change without its entry. Repeating the change, or making the next one,
    repairs that. Raises LostRace if another change came first, RecordError for a
    damaged log, and ConfigurationError for a name that can't be an alias.
    """
    import anyio

    check_alias(alias)

    log = await load_alias_log(registry, model)
    now = await registry.aliases(model)
    old = now.get(alias, "")
    if old == new and aliases_after(log.entries).get(alias, "") == new:
        return None
    entry = log.next(
        at=timestamp(),
        who=who,
        action=action,
        alias=alias,
        old=old,
        new=new,
        reason=reason,
        forced=forced,
        run=run,
    )
    entry = replace(entry, signature=sign(entry.hash.encode(), os.environ))
    await registry.append(model, entry)
    try:
        await registry.point_alias(model, alias, new)
    except TrackingUnavailable as error:
        raise TrackingUnavailable(
            f"the change of {model}@{alias} to version {new} is logged but may not be applied",
            why=error.render(),
            hint="nothing is lost: run the same command again once this is fixed",
        ) from error
    if registry.client.endpoint.kind == "gitlab":
        return entry  # GitLab accepts only one of two entries with the same number
    await anyio.sleep(SETTLE_SECONDS)
    log = await registry.alias_log(model)
    if entry not in log.entries:
        raise lost_race(model, log, entry)
    if log.entries[-1] == entry and (await registry.aliases(model)).get(alias, "") != new:
        await registry.point_alias(model, alias, new)  # the machine that lost the race wrote after us
    return entry


def check_alias(alias: str) -> None:
    """Raise ConfigurationError for a name that servers refuse, so that it does not get into the log."""
    if not re.fullmatch(r"[\w-]{1,255}", alias):
        raise ConfigurationError(
            f"{alias!r} cannot be an alias", hint="use letters, digits, underscores and hyphens"
        )
    if re.fullmatch(r"[vV]?\d+", alias) or alias.lower() == "latest":
        raise ConfigurationError(
            f"{alias!r} cannot be an alias: it means a version",
            hint="use a word, such as champion",
        )


async def load_alias_log(registry: Registry, model: str) -> AliasLog:
    """The log of a model. Raises RecordError for a broken chain."""
    log = await registry.alias_log(model)
    if log.problems:
        raise RecordError(
            f"the log of {model!r} is damaged",
            why="\n".join(log.problems),
            hint="someone edited the registry's tags; restore them from a backup of the server",
        )
    return log


async def find(registry: Registry, reference: str) -> ModelVersion:
    """The version that ``NAME``, ``NAME@ALIAS``, ``NAME@VERSION`` or ``NAME/VERSION`` refers to.

    A bare name refers to the champion, or to the newest version if there is no
    champion. Raises ConfigurationError if there is no such version.
    """
    name, alias, version = split_reference(reference)
    if alias:
        known = await registry.aliases(name)
        # `NAME@3` is version 3: MLflow does not allow aliases that look like versions.
        version = known.get(alias, "") or alias
    elif not version:
        version = (await registry.aliases(name)).get("champion", "")
        if not version:
            newest = await registry.versions(name)
            version = newest[0].version if newest else ""
    found = await registry.version(name, version) if version and version[0].isdigit() else None
    if found is not None:
        return found
    names = await registry.names()
    if name not in names:
        from rondel.errors import did_you_mean

        raise ConfigurationError(f"there is no model {name!r}", hint=did_you_mean(name, names))
    known = await registry.aliases(name)
    shown = ", ".join(f"{key} → {value}" for key, value in sorted(known.items())) or "none yet"
    missing = f"alias {alias!r}" if alias and not alias[0].isdigit() else f"version {alias or version!r}"
    raise ConfigurationError(f"model {name!r} has no {missing}", hint=f"aliases: {shown}")


def split_reference(reference: str) -> tuple[str, str, str]:
    """Name, alias and version of ``NAME``, ``NAME@ALIAS`` or ``NAME/VERSION``; a missing part is empty."""
    name, at, alias = reference.partition("@")
    if at:
        if not name or not alias:
            raise ConfigurationError(f"{reference!r} does not have the form NAME@ALIAS")
        return name, alias, ""
    name, slash, version = reference.partition("/")
    if not name or (slash and not version):
        raise ConfigurationError(f"{reference!r} does not have the form NAME or NAME/VERSION")
    return name, "", version


def rollback_stack(entries: Iterable[AliasLogEntry], alias: str) -> list[str]:
    """The versions that rollback can return to, the current one last.

    A rollback removes what came after its target, so two rollbacks go two steps
    back instead of back and forth.
    """
    stack: list[str] = []
    for entry in entries:
        if entry.alias != alias:
            continue
        if entry.action == "rollback" and entry.new in stack:
            while stack[-1] != entry.new:
                stack.pop()
        elif entry.new and (not stack or stack[-1] != entry.new):
            stack.append(entry.new)
    return stack


def rollback_target(
    entries: Iterable[AliasLogEntry], alias: str, current: str, steps: int, model: str
) -> str:
    """The version ``steps`` before the current one. Raises ConfigurationError if there is none."""
    stack = rollback_stack(entries, alias)
    if stack and stack[-1] != current:
        stack.append(current)  # someone set the alias without Rondel
    if steps < 1 or len(stack) <= steps:
        raise ConfigurationError(
            f"{model}@{alias} cannot go back {steps} {'step' if steps == 1 else 'steps'}",
            why=f"earlier versions: {' → '.join(stack) or 'none'}.",
            hint=f"see `rondel models history {model}`",
        )
    return stack[-1 - steps]


def champion_at(entries: Iterable[AliasLogEntry], alias: str, at: str) -> str | None:
    """The version that the alias pointed at, at a time in the log's format."""
    return aliases_after(entry for entry in entries if entry.at <= at).get(alias)


def timestamp() -> str:
    """Now, in the log's format: ISO 8601 in UTC with milliseconds, so that texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> str:
    """A time from the command line, in the log's format. The default zone is UTC; a day means its end."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is not a time", hint="write 2026-11-23, 2026-11-23T19:30 or 2026-11-23T19:30:00+01:00"
        ) from None
    if len(text) == 10:
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999000)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
