"""Which version of a model is the champion, found as cheaply as the server allows.

The champion's version is part of a gate's key, so it is asked for in every
run, also in one with nothing to do:

- the project's own database is a file beside us: its answer is remembered with
  the file's size and times, and while those stay the same nothing is opened;
- a remote MLflow server is asked for the alias, in one request;
- GitLab's endpoint has no aliases to set: there the newest entry of the
  promotion log, kept as tags of a run (:mod:`rondel.registry.alias_log`), says it,
  which takes two requests.
"""

from __future__ import annotations

import json
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.errors import TrackingUnavailable
from rondel.tracking.endpoint import endpoint_for
from rondel.tracking.state import Folder, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.registry.versions import ModelVersion
    from rondel.tracking.client import TrackingClient
    from rondel.tracking.endpoint import Endpoint

CHAMPION = "champion"
METRICS_TAG = "rondel.metrics"
"""The tag of a model version with the metrics that its gate saw, as JSON."""

_SETTLED_SECONDS = 2.0
_PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The version behind an alias and the metrics that are known of it."""

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
    """The champion's version, or None when there is no champion yet.

    Raises TrackingUnavailable when a remote server does not answer. Starts no server.
    """
    remote = endpoint_for(environ, uri)
    if remote is not None:
        import anyio

        return anyio.run(_ask, remote, model, alias)
    return local_version(Folder.of(root), model, alias)


async def fetch_champion(client: TrackingClient, model: str, *, alias: str = CHAMPION) -> Champion | None:
    """The champion with its metrics, or None when there is none yet.

    Metrics come from the version's own tag, which registration writes; without
    it (a version that was registered by hand) from its run and that run's parent.
    """
    version = await _champion(client, model, alias)
    if version is None:
        return None
    metrics: dict[str, float] = {}
    written = version.tags.get(METRICS_TAG)
    if written:
        metrics = _metrics(written)
    elif version.run_id:
        run = await client.get_run(version.run_id)
        parent = run.tags.get(_PARENT_TAG)
        metrics = from_run({**((await client.get_run(parent)).metrics if parent else {}), **run.metrics})
    return Champion(
        model=model, version=version.version, run_id=version.run_id, metrics=metrics, tags=version.tags
    )


def from_run(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of a run under the names that rules use.

    MLflow's names have no brackets: ``slices.origin.JFK.roc_auc`` is ``roc_auc[origin=JFK]``.
    """
    found = {}
    for name, value in metrics.items():
        parts = name.split(".")
        if parts[0] == "slices" and len(parts) > 3:
            name = f"{'.'.join(parts[3:])}[{parts[1]}={parts[2]}]"  # noqa: PLW2901
        found[name] = value
    return found


def local_version(folder: Folder, model: str, alias: str) -> str | None:
    """The version behind an alias in the project's own database; no server is needed.

    The remembered answer counts while the file is unchanged since it had been
    at rest for two seconds: a change within the clock's grain would not show.
    """
    try:
        if folder.database.with_name(folder.database.name + "-journal").exists():
            return _read_version(folder.database, model, alias)  # a write is going on, or was cut off
        stat = folder.database.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # not "no champion yet", which a gate passes
        raise TrackingUnavailable(f"cannot read {folder.database}", why=str(error)) from None
    proof = [stat.st_ino, stat.st_size, stat.st_mtime_ns]
    memo = folder.path / "champions.json"
    key = f"{model}@{alias}"
    known: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        known = json.loads(memo.read_text(encoding="utf-8"))
        if known.get("proof") == proof and key in known["versions"]:
            found = known["versions"][key]
            return None if found is None else str(found)
    version = _read_version(folder.database, model, alias)
    if time.time() - stat.st_mtime > _SETTLED_SECONDS:
        versions = known.get("versions", {}) if known.get("proof") == proof else {}
        with suppress(OSError):
            write_text(memo, json.dumps({"proof": proof, "versions": {**versions, key: version}}))
    return version


def _read_version(database: Path, model: str, alias: str) -> str | None:
    import sqlite3

    # Read-only, unless a server that was killed left a journal: then SQLite must roll it back first.
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
        hint="restore it from a backup or move it away; `rondel ui` then starts with an empty one",
    )


def _query_version(address: str, model: str, alias: str) -> str | None:
    import sqlite3

    query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
    with closing(sqlite3.connect(address, uri=True, timeout=3.0)) as connection:
        row = connection.execute(query, (model, alias)).fetchone()
    return None if row is None else str(row[0])


async def _ask(endpoint: Endpoint, model: str, alias: str) -> str | None:
    from rondel.registry.alias_log import gitlab_aliases
    from rondel.registry.versions import version_by_alias
    from rondel.tracking.client import TrackingClient

    async with TrackingClient(endpoint) as client:
        if endpoint.kind == "gitlab":
            return (await gitlab_aliases(client, model)).get(alias)
        version = await version_by_alias(client, model, alias)
        return None if version is None else version.version


async def _champion(client: TrackingClient, model: str, alias: str) -> ModelVersion | None:
    from rondel.registry.alias_log import gitlab_aliases
    from rondel.registry.versions import get_version, version_by_alias

    if client.endpoint.kind != "gitlab":
        return await version_by_alias(client, model, alias)
    version = (await gitlab_aliases(client, model)).get(alias)
    return None if version is None else await get_version(client, model, version)


def _metrics(text: str) -> dict[str, float]:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return {
                str(name): float(value)
                for name, value in found.items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            }
    return {}
