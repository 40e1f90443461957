"""The commands ``rondel models``, ``promote`` and ``rollback``; each function returns the lines to print."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError
from rondel.registry import project_lineage, promote
from rondel.registry.alias_log import aliases_after
from rondel.registry.aliases import champion_at, find, load_alias_log, parse_time, split_reference
from rondel.registry.backends import Registry, registry_of
from rondel.registry.lineage import Lineage, slice_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from rondel.registry.versions import ModelVersion

_SHOWN_METRICS = 3


def with_registry(
    root: Path,
    environ: Mapping[str, str],
    uri: str | None,
    action: Callable[[Registry], Awaitable[list[str]]],
    *,
    linger: float,
) -> list[str]:
    """Run ``action`` on the registry of the configured MLflow server, or of the project's own.

    The project's own stays for ``linger`` seconds after its last use.
    """
    import anyio

    from rondel.tracking import TrackingClient, connect

    endpoint, lease = connect(root, environ, uri=uri, linger=linger)

    async def main() -> list[str]:
        async with TrackingClient(endpoint) as client:
            return await action(registry_of(client))

    try:
        return anyio.run(main)
    finally:
        if lease is not None:
            lease.release()


async def list_models(source: Registry, model: str | None, *, as_json: bool = False) -> list[str]:
    """All models, or the versions of one, with aliases, gate, metrics and commit."""
    names = [model] if model else sorted(await source.names())
    rows: list[dict[str, Any]] = []
    for name in names:
        aliases = await source.aliases(name)
        versions = await source.versions(name)
        if model and not versions:
            await find(source, name)  # raises the error that lists the known models
        rows += [_row(version, aliases) for version in versions]
    if as_json:
        return json.dumps(rows, indent=2).splitlines()
    if not rows:
        return ["no models are registered yet"]
    shown = [
        (
            row["model"], row["version"], ", ".join(row["aliases"]), row["gate"], row["created"],
            row["commit"][:12] + ("+" if row["dirty"] else ""), row["shown"],
        )
        for row in rows
    ]  # fmt: skip
    return _columns([("MODEL", "VERSION", "ALIASES", "GATE", "CREATED", "COMMIT", "METRICS"), *shown])


async def show(source: Registry, reference: str, *, as_json: bool = False) -> list[str]:
    """One version with its lineage, down to data files and commit."""
    version = await find(source, reference)
    aliases = await source.aliases(version.model)
    lineage = Lineage.from_tags(version.tags)
    if as_json:
        document = {**_row(version, aliases), "lineage": asdict(lineage), "source": version.source}
        return json.dumps(document, indent=2, default=dict).splitlines()
    facts = {
        "model": f"{version.model} version {version.version}",
        "aliases": ", ".join(_aliases(version, aliases)) or "none",
        "created": _time(version.created_ms),
        "source": version.source,
        "commit": (lineage.git_commit or "not recorded")
        + (" with uncommitted changes" if lineage.git_dirty else ""),
        "repository": lineage.git_remote,
        "image": lineage.image,
        "run": lineage.run,
        "capsule": lineage.capsule,
        "CI job": lineage.ci_job,
        "MLflow run": version.run_id,
        "gate": lineage.gate,
    }
    lines = [f"{name:11} {text}" for name, text in facts.items() if text]
    lines += [f"{'':11} {rule}" for rule in lineage.gate_rules]
    whole = {name: f"{value:.6g}" for name, value in lineage.metrics.items() if "[" not in name}
    slices = slice_table(lineage.metrics)
    lines += ["", *_columns(slices)] if slices else []
    for title, values in (
        ("metrics", whole),
        ("parameters", {name: _parameter(name, value, lineage) for name, value in lineage.params.items()}),
        (
            "measured with",
            {
                name: text[:40]
                for name, text in lineage.evaluation.items()
                if " " in name and not name.startswith("parameter ")
            },
        ),
        ("input data", lineage.inputs),
        ("data from its stages", lineage.outputs),
    ):
        if values:
            width = max(map(len, values))
            lines += ["", title, *(f"  {name.ljust(width)}  {values[name]}" for name in sorted(values))]
    return lines


async def history(
    source: Registry, model: str, *, at: str | None = None, alias: str = "champion"
) -> list[str]:
    """Who changed which alias, when and why; with ``at``, which version the alias pointed at then."""
    name, wanted, _ = split_reference(model)
    log = await load_alias_log(source, name)
    if at is not None:
        moment = parse_time(at)
        version = champion_at(log.entries, wanted or alias, moment)
        return [version or f"none: {name}@{wanted or alias} was not set at {moment}"]
    if not log.entries:
        await find(source, name)
        return [f"no alias of {name} has been set yet"]
    rows = [
        (
            entry.at, entry.who, entry.action + (" (forced)" if entry.forced else ""), entry.alias,
            f"{entry.old or '-'} → {entry.new or '-'}", entry.reason,
        )
        for entry in log.entries
        if not wanted or entry.alias == wanted
    ]  # fmt: skip
    lines = _columns([("WHEN", "WHO", "WHAT", "ALIAS", "FROM → TO", "WHY"), *rows])
    lines += [f"lost a race: {entry.at} {entry.who} {entry.alias} → {entry.new}" for entry in log.lost]
    now = await source.aliases(name)
    for key in sorted({*now, *aliases_after(log.entries)}):
        version, logged = now.get(key, ""), champion_at(log.entries, key, "9999") or ""
        if logged != version:
            lines.append(
                f"note: {key} points at {version or 'nothing'}, the log says {logged or 'nothing'}: "
                "it was set without Rondel, or a change was interrupted"
            )
    return lines


async def promote_model(
    source: Registry,
    reference: str,
    *,
    root: Path,
    environ: Mapping[str, str],
    to: str = "champion",
    force: bool = False,
    reason: str = "",
    remote: str | None = None,
    started_by: str | None = None,
) -> list[str]:
    """``rondel promote``; raises what :func:`rondel.registry.promote.promote` raises."""
    who = project_lineage.whoami(root, started_by)
    change = await promote.promote(
        source,
        reference,
        root=root,
        environ=environ,
        who=who,
        to=to,
        force=force,
        reason=reason,
        remote=remote,
    )
    return [*(f"overridden: {each}" for each in change.overridden), _sentence(change)]


async def rollback_model(
    source: Registry,
    model: str,
    *,
    root: Path,
    steps: int = 1,
    reason: str = "",
    alias: str = "champion",
    started_by: str | None = None,
) -> list[str]:
    """``rondel rollback``; raises what :func:`rondel.registry.promote.rollback` raises."""
    who = project_lineage.whoami(root, started_by)
    name, wanted, version = split_reference(model)
    if version or wanted.isdigit():
        raise ConfigurationError(
            f"{model!r} names a version, but rollback takes an alias",
            hint=f"to set a version: rondel promote {name}/{version or wanted}",
        )
    change = await promote.rollback(source, name, who=who, alias=wanted or alias, steps=steps, reason=reason)
    return [_sentence(change)]


def _parameter(name: str, value: Any, lineage: Lineage) -> str:
    return f"{value}  (given with -P)" if name in lineage.overrides else str(value)


def _sentence(change: promote.AliasChange) -> str:
    if change.entry is None:
        return f"{change.model}@{change.alias} is already version {change.new}"
    before = f"; it was version {change.old}" if change.old else ""
    return f"{change.model}@{change.alias} is now version {change.new}{before}"


def _row(version: ModelVersion, aliases: Mapping[str, str]) -> dict[str, Any]:
    lineage = Lineage.from_tags(version.tags)
    plain = [(name, value) for name, value in lineage.metrics.items() if "[" not in name and "." not in name]
    known = dict(plain)
    words = [word for rule in lineage.gate_rules for word in rule.split()]
    judged = [(name, known[name]) for name in dict.fromkeys(words) if name in known]  # in the rules' order
    shown = [f"{name}={value:.4g}" for name, value in (judged or plain)[:_SHOWN_METRICS]]
    return {
        "model": version.model,
        "version": version.version,
        "aliases": _aliases(version, aliases),
        "gate": lineage.gate,
        "created": _time(version.created_ms),
        "commit": lineage.git_commit,
        "dirty": lineage.git_dirty and bool(lineage.git_commit),
        "metrics": dict(lineage.metrics),
        "shown": " ".join(shown),
    }


def _aliases(version: ModelVersion, aliases: Mapping[str, str]) -> list[str]:
    return sorted(alias for alias, target in aliases.items() if target == version.version)


def _time(milliseconds: int) -> str:
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
