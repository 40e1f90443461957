"""Finds the champion version of a model, as cheaply as the server allows.

The champion's version is part of a gate's key, so every run needs it, even one
with nothing to do:

- The project's own database is a local file. Rondel caches the answer with the
  file's size and modification time, and opens the file only if they change.
- A remote MLflow server answers one request for the alias.
- GitLab's endpoint has no aliases. There the newest entry of the alias log
  (:mod:`rondel.registry.alias_log`) names the version, which takes two requests.
"""

from __future__ import annotations

import json
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.errors import TrackingUnavailable
from rondel.registry.lineage import METRICS, tagged_document
from rondel.tracking.endpoint import endpoint_for
from rondel.tracking.server_state import ServerFolder, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.registry.versions import ModelVersion
    from rondel.tracking.client import TrackingClient
    from rondel.tracking.endpoint import Endpoint

CHAMPION = "champion"

_UNCHANGED_SECONDS = 2.0
_PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The version that an alias points at, with its known metrics."""

    model: str
    version: str
    run_id: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def champion_version(
    root: Path,
    environ: Mapping[str, str],
    model: str,
    *,
    alias: str = CHAMPION,
    uri: str | None = None,
) -> str | None:
    """The champion's version, or None if there is no champion yet.

    Starts no server. Raises TrackingUnavailable if a remote server does not answer.
    """
    if endpoint_for(environ, uri) is not None:
        import anyio

        from rondel.tracking.session import given_server

        remote = given_server(root, environ, uri)
        assert remote is not None  # noqa: S101 - there is an address
        return anyio.run(_remote_version, remote, model, alias)
    return local_champion_version(ServerFolder.used_by(root, environ), model, alias)


async def fetch_champion(client: TrackingClient, model: str, *, alias: str = CHAMPION) -> Champion | None:
    """The champion with its metrics, or None if there is none yet.

    The metrics come from the version's tags, which registration writes. A version
    that was registered without Rondel has no such tags: its metrics come from its
    run and that run's parent.
    """
    version = await _model_version(client, model, alias)
    if version is None:
        return None
    metrics: dict[str, float] = {}
    if METRICS in version.tags:
        metrics = _numbers(tagged_document(version.tags, METRICS))
    elif version.run_id:
        run = await client.get_run(version.run_id)
        parent = run.tags.get(_PARENT_TAG)
        metrics = rule_metrics({**((await client.get_run(parent)).metrics if parent else {}), **run.metrics})
    return Champion(
        model=model, version=version.version, run_id=version.run_id, metrics=metrics, tags=version.tags
    )


def rule_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of an MLflow run under the names that rules use.

    MLflow's names have no brackets: ``slices.origin.JFK.roc_auc`` is ``roc_auc[origin=JFK]``.
    """
    renamed = {}
    for name, value in metrics.items():
        parts = name.split(".")
        if parts[0] == "slices" and len(parts) > 3:
            name = f"{'.'.join(parts[3:])}[{parts[1]}={parts[2]}]"  # noqa: PLW2901
        renamed[name] = value
    return renamed


def local_champion_version(folder: ServerFolder, model: str, alias: str) -> str | None:
    """The version that an alias points at in the project's own database, read without a server.

    An answer is cached only if the file has not changed for two seconds: file
    times are too coarse to show a change right after another one.
    """
    try:
        if folder.database.with_name(folder.database.name + "-journal").exists():
            return _read_version(folder.database, model, alias)  # a write is in progress, or was interrupted
        stat = folder.database.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # not "no champion yet", which a gate passes
        raise TrackingUnavailable(f"cannot read {folder.database}", why=str(error)) from None
    proof = [stat.st_ino, stat.st_size, stat.st_mtime_ns]
    file = folder.path / "champions.json"
    key = f"{model}@{alias}"
    cached: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        cached = json.loads(file.read_text(encoding="utf-8"))
        if cached.get("proof") == proof and key in cached["versions"]:
            found = cached["versions"][key]
            return None if found is None else str(found)
    version = _read_version(folder.database, model, alias)
    if time.time() - stat.st_mtime > _UNCHANGED_SECONDS:
        versions = cached.get("versions", {}) if cached.get("proof") == proof else {}
        with suppress(OSError):
            write_text(file, json.dumps({"proof": proof, "versions": {**versions, key: version}}))
    return version


def _read_version(database: Path, model: str, alias: str) -> str | None:
    import sqlite3

    # Read-only, unless a killed server left a journal, which SQLite must roll back first.
    for mode in ("ro", "rw"):
        try:
            return _query_version(f"{database.as_uri()}?mode={mode}", model, alias)
        except sqlite3.OperationalError as error:
            if "no such table" in str(error) or not database.exists():
                return None  # the server has not finished its first start
            problem: sqlite3.Error = error
        except sqlite3.DatabaseError as error:
            problem = error
            break
    raise TrackingUnavailable(
        f"cannot read {database}",
        why=str(problem),
        hint="restore it from a backup, or move it away: `rondel ui` then creates an empty one",
    )


def _query_version(address: str, model: str, alias: str) -> str | None:
    import sqlite3

    query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
    with closing(sqlite3.connect(address, uri=True, timeout=3.0)) as connection:
        row = connection.execute(query, (model, alias)).fetchone()
    return None if row is None else str(row[0])


async def _remote_version(endpoint: Endpoint, model: str, alias: str) -> str | None:
    from rondel.registry.alias_log import gitlab_aliases
    from rondel.registry.versions import version_by_alias
    from rondel.tracking.client import TrackingClient

    async with TrackingClient(endpoint) as client:
        if endpoint.kind == "gitlab":
            return (await gitlab_aliases(client, model)).get(alias)
        version = await version_by_alias(client, model, alias)
        return None if version is None else version.version


async def _model_version(client: TrackingClient, model: str, alias: str) -> ModelVersion | None:
    from rondel.registry.alias_log import gitlab_aliases
    from rondel.registry.versions import get_version, version_by_alias

    if client.endpoint.kind != "gitlab":
        return await version_by_alias(client, model, alias)
    version = (await gitlab_aliases(client, model)).get(alias)
    return None if version is None else await get_version(client, model, version)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
