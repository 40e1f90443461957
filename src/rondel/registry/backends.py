"""The model registry of an MLflow server and of GitLab's endpoint, behind one interface.

MLflow has aliases, and tags that can change. GitLab has neither. There, a version
gets its tags on creation, later tags go to the version's run, and the log
(:mod:`rondel.registry.alias_log`) defines the aliases.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from rondel.errors import TrackingUnavailable
from rondel.registry.alias_log import (
    LOG_EXPERIMENT,
    AliasLog,
    AliasLogEntry,
    aliases_after,
    decode_log,
    gitlab_log_run,
)
from rondel.registry.versions import ModelVersion, decode_model, decode_version, get_model, get_version
from rondel.tracking.errors import TrackingRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.tracking import TrackingClient

PAGE = 200


class LostRace(TrackingUnavailable):
    """Someone else changed an alias of the model at the same time, and that change is the valid one."""


class Registry(Protocol):
    """The interface. Methods raise TrackingUnavailable if the server fails."""

    client: TrackingClient

    async def names(self) -> list[str]:
        """The registered models."""

    async def versions(self, model: str) -> list[ModelVersion]:
        """All versions, newest first; empty for an unknown model."""

    async def version(self, model: str, version: str) -> ModelVersion | None:
        """One version with all its tags, or None."""

    async def aliases(self, model: str) -> dict[str, str]:
        """The version that each alias points at."""

    async def alias_log(self, model: str) -> AliasLog:
        """The log of alias changes."""

    async def create(
        self, model: str, *, source: str, run_id: str, model_id: str, tags: Mapping[str, str], card: str
    ) -> ModelVersion:
        """Create a version, and the model if it does not exist."""

    async def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""

    async def append(self, model: str, entry: AliasLogEntry) -> None:
        """Add an entry to the log. Raises LostRace if another entry with its number is valid."""

    async def point_alias(self, model: str, alias: str, version: str) -> None:
        """Point the alias at the version; an empty version removes the alias."""


def registry_of(client: TrackingClient) -> Registry:
    """The registry on the client's server."""
    return GitlabRegistry(client) if client.endpoint.kind == "gitlab" else MlflowRegistry(client)


class MlflowRegistry:
    """The registry of an MLflow server."""

    def __init__(self, client: TrackingClient) -> None:
        self.client = client

    async def names(self) -> list[str]:
        """The registered models."""
        rows = await self._pages("registered-models/search", "registered_models", {})
        return [decode_model(row).name for row in rows]

    async def versions(self, model: str) -> list[ModelVersion]:
        """All versions, newest first."""
        query = {"filter": f"name = '{_quoted(model)}'"}
        rows = await self._pages("model-versions/search", "model_versions", query)
        return sorted(map(decode_version, rows), key=lambda found: int(found.version), reverse=True)

    async def version(self, model: str, version: str) -> ModelVersion | None:
        """One version, or None."""
        return await get_version(self.client, model, version)

    async def aliases(self, model: str) -> dict[str, str]:
        """The version that each alias points at."""
        found = await get_model(self.client, model)
        return dict(found.aliases) if found else {}

    async def alias_log(self, model: str) -> AliasLog:
        """The log of alias changes, from the model's tags."""
        found = await get_model(self.client, model)
        return decode_log(found.tags if found else {})

    async def create(
        self, model: str, *, source: str, run_id: str, model_id: str, tags: Mapping[str, str], card: str
    ) -> ModelVersion:
        """Create a version, and the model if it does not exist."""
        await _ensure_model(self.client, model)
        body: dict[str, Any] = {
            "name": model,
            "source": source,
            "run_id": run_id,
            "description": card,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        if model_id:
            body["model_id"] = model_id
        found = await self.client.call("POST", "model-versions/create", body=body)
        return decode_version(found["model_version"])

    async def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add tags to a version, or change them."""
        for key, value in tags.items():
            body = {"name": version.model, "version": version.version, "key": key, "value": value}
            await self.client.call("POST", "model-versions/set-tag", body=body, repeatable=True)

    async def append(self, model: str, entry: AliasLogEntry) -> None:
        """Add an entry, then check that it is valid; :mod:`rondel.registry.alias_log` has the rule."""
        body = {"name": model, "key": entry.hashed_tag, "value": entry.encode()}
        await self.client.call("POST", "registered-models/set-tag", body=body, repeatable=True)
        log = await self.alias_log(model)
        if entry not in log.entries:
            raise lost_race(model, log, entry)

    async def point_alias(self, model: str, alias: str, version: str) -> None:
        """Point the alias at the version; an empty version removes the alias."""
        if version:
            body = {"name": model, "alias": alias, "version": version}
            await self.client.call("POST", "registered-models/alias", body=body, repeatable=True)
        else:
            query = {"name": model, "alias": alias}
            await self.client.call("DELETE", "registered-models/alias", body=query, repeatable=True)

    async def _pages(self, path: str, key: str, query: dict[str, str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        token = ""
        while True:
            page = {**query, "max_results": PAGE, **({"page_token": token} if token else {})}
            found = await self.client.call("GET", path, query=page, repeatable=True)
            rows += found.get(key) or []
            token = str(found.get("next_page_token") or "")
            if not token:
                return rows


class GitlabRegistry:
    """The registry of GitLab's MLflow-compatible endpoint."""

    def __init__(self, client: TrackingClient) -> None:
        self.client = client

    async def names(self) -> list[str]:
        """The registered models."""
        found = await self.client.call("GET", "registered-models/search", repeatable=True)
        return [decode_model(row).name for row in found.get("registered_models") or []]

    async def versions(self, model: str) -> list[ModelVersion]:
        """The versions from the latest one down to 1.0.0.

        The endpoint can't list versions; Rondel numbers them ``N.0.0``.
        """
        try:
            body = {"name": model}
            found = await self.client.call("GET", "registered-models/get", query=body, repeatable=True)
        except TrackingRefused as refusal:
            if refusal.missing:
                return []
            raise
        latest = found["registered_model"].get("latest_versions") or []
        number = max((_major(str(row["version"])) for row in latest), default=0)
        versions = []
        for major in range(number, 0, -1):
            version = await self.version(model, f"{major}.0.0")
            if version is not None:
                versions.append(version)
        return versions

    async def version(self, model: str, version: str) -> ModelVersion | None:
        """One version, or None. Its tags include those that were added to its run later."""
        found = await get_version(self.client, model, version)
        if found is None or not found.run_id:
            return found
        try:
            run = await self.client.get_run(found.run_id)
        except TrackingRefused as refusal:
            if refusal.missing:
                return found
            raise
        later = {
            key.removeprefix("model."): value for key, value in run.tags.items() if key.startswith("model.")
        }
        return replace(found, tags={**found.tags, **later})

    async def aliases(self, model: str) -> dict[str, str]:
        """The version that each alias points at, from the log."""
        return aliases_after((await self.alias_log(model)).entries)

    async def alias_log(self, model: str) -> AliasLog:
        """The log of alias changes, from the tags of its run."""
        found = await gitlab_log_run(self.client, model)
        return decode_log(found[1] if found else {})

    async def create(
        self, model: str, *, source: str, run_id: str, model_id: str, tags: Mapping[str, str], card: str
    ) -> ModelVersion:
        """Create a version with the next free number. Only tags hold its source and model ID."""
        del model_id, source
        await _ensure_model(self.client, model)
        newest = await self.versions(model)
        number = f"{(_major(newest[0].version) if newest else 0) + 1}.0.0"
        pairs = {**tags, "gitlab.version": number}
        body = {
            "name": model,
            "run_id": run_id,
            "description": card,
            "tags": [{"key": key, "value": value} for key, value in pairs.items()],
        }
        found = await self.client.call("POST", "model-versions/create", body=body)
        return decode_version(found["model_version"])

    async def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add tags to the version's run; existing tags stay as they are."""
        for key, value in tags.items():
            body = {"run_id": version.run_id, "key": f"model.{key}", "value": value}
            await self._set_run_tag(body)

    async def append(self, model: str, entry: AliasLogEntry) -> None:
        """Add an entry. The server refuses a number that exists, so one of two machines wins."""
        found = await gitlab_log_run(self.client, model)
        if found is None:
            experiment = await self.client.ensure_experiment(LOG_EXPERIMENT)
            await self.client.create_run(experiment, name=model, tags={})
            found = await gitlab_log_run(self.client, model)
            if found is None:
                raise TrackingUnavailable(f"GitLab does not show the new run for the log of {model!r}")
        body = {"run_id": found[0].run_id, "key": entry.tag, "value": entry.encode()}
        written = await self._set_run_tag(body)
        log = await self.alias_log(model)
        if not written and entry not in log.entries:
            raise lost_race(model, log, entry)

    async def point_alias(self, model: str, alias: str, version: str) -> None:
        """Do nothing: the entry in the log defines the alias."""

    async def _set_run_tag(self, body: Mapping[str, str]) -> bool:
        try:
            await self.client.call("POST", "runs/set-tag", body=body)
        except TrackingRefused as refusal:
            if refusal.status == 400:
                return False
            raise
        return True


def lost_race(model: str, log: AliasLog, entry: AliasLogEntry) -> LostRace:
    """The error for a change whose entry is not valid."""
    winner = next((each for each in log.entries if each.number == entry.number), None)
    by = f"{winner.who} set {winner.alias} to version {winner.new}" if winner else "someone else changed it"
    return LostRace(
        f"another change of {model!r} came first",
        why=f"{by} at the same time; your change was not applied.",
        hint=f"see `rondel models history {model}`, then decide again",
    )


async def _ensure_model(client: TrackingClient, model: str) -> None:
    try:
        await client.call("POST", "registered-models/create", body={"name": model})
    except TrackingRefused as refusal:
        if not refusal.exists:
            raise


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")
