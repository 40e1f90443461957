"""Moving an alias: promotion, rollback, and the questions that the log answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError, RecordError, TrackingUnavailable
from rondel.registry.alias_log import AliasLog, Entry, aliases
from rondel.registry.store import Registry, lost_race

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.registry.versions import ModelVersion

SETTLE_SECONDS = 1.0
"""An MLflow server has no transactions. Between our reading of the log and our writing lie
two requests; another machine's entry that was written in this window shows after this time."""


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
) -> Entry | None:
    """Write the entry, then move the alias; None when it points there already.

    In this order a crash leaves an entry without its move, never a move without
    its entry: the next move of the alias, or the same one again, heals it.
    Raises LostRace when another move came first, RecordError for a broken log,
    ConfigurationError for what cannot be an alias.
    """
    import anyio

    check_alias(alias)

    log = await load_alias_log(registry, model)
    now = await registry.aliases(model)
    old = now.get(alias, "")
    if old == new and aliases(log.entries).get(alias, "") == new:
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
    await registry.append(model, entry)
    try:
        await registry.point(model, alias, new)
    except TrackingUnavailable as error:
        raise TrackingUnavailable(
            f"the move of {model}@{alias} to version {new} is in the log but may not have taken effect",
            why=error.render(),
            hint="nothing is lost: run the same command again once that is mended",
        ) from error
    if registry.client.endpoint.kind == "gitlab":
        return entry  # its server lets only one of two entries in
    await anyio.sleep(SETTLE_SECONDS)
    log = await registry.alias_log(model)
    if entry not in log.entries:
        raise lost_race(model, log, entry)
    if log.entries[-1] == entry and (await registry.aliases(model)).get(alias, "") != new:
        await registry.point(model, alias, new)  # the loser of a race wrote after us
    return entry


def check_alias(alias: str) -> None:
    """Raise ConfigurationError for a name that no server takes for an alias: the log must not tell of it."""
    if not re.fullmatch(r"[\w-]{1,255}", alias):
        raise ConfigurationError(
            f"{alias!r} cannot be an alias", hint="letters, digits, underscores and hyphens can"
        )
    if re.fullmatch(r"[vV]?\d+", alias) or alias.lower() == "latest":
        raise ConfigurationError(
            f"{alias!r} cannot be an alias: it means a version", hint="champion, challenger, or another word"
        )


async def load_alias_log(registry: Registry, model: str) -> AliasLog:
    """The log. RecordError when its chain does not hold: then nothing may be built on it."""
    log = await registry.alias_log(model)
    if log.wrong:
        raise RecordError(
            f"the log of {model!r} is damaged",
            why="\n".join(log.wrong),
            hint="somebody changed the registry's tags by hand; restore them from a backup of the server",
        )
    return log


async def find(registry: Registry, reference: str) -> ModelVersion:
    """The version that ``NAME``, ``NAME@ALIAS``, ``NAME@VERSION`` or ``NAME/VERSION`` means.

    A bare name means the champion, and the newest version while there is none.
    Raises ConfigurationError when there is no such version.
    """
    name, alias, version = split_reference(reference)
    if alias:
        known = await registry.aliases(name)
        # `NAME@3` is version 3: MLflow does not allow aliases that look like one.
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
    lacking = f"version {alias or version!r}"
    if alias and not alias[0].isdigit():
        lacking = f"alias {alias!r}"
    raise ConfigurationError(f"model {name!r} has no {lacking}", hint=f"aliases: {shown}")


def split_reference(reference: str) -> tuple[str, str, str]:
    """Name, alias and version of ``NAME``, ``NAME@ALIAS`` or ``NAME/VERSION``; the missing ones are empty."""
    name, at, alias = reference.partition("@")
    if at:
        if not name or not alias:
            raise ConfigurationError(f"{reference!r} is not of the form NAME@ALIAS")
        return name, alias, ""
    name, slash, version = reference.partition("/")
    if not name or (slash and not version):
        raise ConfigurationError(f"{reference!r} is not of the form NAME or NAME/VERSION")
    return name, "", version


def past_champions(entries: Iterable[Entry], alias: str) -> list[str]:
    """The versions that rollback goes through, the current one last; pure.

    A rollback takes back what came after its target, so that two rollbacks go
    two steps back and not to and fro.
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


def rollback_target(entries: Iterable[Entry], alias: str, current: str, steps: int, model: str) -> str:
    """The version ``steps`` before the current one. ConfigurationError when there is none."""
    stack = past_champions(entries, alias)
    if stack and stack[-1] != current:
        stack.append(current)  # moved by hand, past the log
    if steps < 1 or len(stack) <= steps:
        raise ConfigurationError(
            f"{model}@{alias} cannot go back {steps} {'step' if steps == 1 else 'steps'}",
            why=f"its past: {' → '.join(stack) or 'none'}.",
            hint=f"see `rondel models history {model}`",
        )
    return stack[-1 - steps]


def champion_at(entries: Iterable[Entry], alias: str, at: str) -> str | None:
    """Which version the alias pointed at, at that time (ISO 8601 in UTC, as in the log); pure."""
    return aliases(entry for entry in entries if entry.at <= at).get(alias)


def timestamp() -> str:
    """Now, as the log writes it: ISO 8601 in UTC with milliseconds, so that text sorts as time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> str:
    """A time that somebody typed, as the log writes it. Without an offset it is UTC; a day is its end."""
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
